#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/words/role_instance.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace millrace::supervision {

/// A process that the placement asks for.
struct placed_process {
  role_instance role;
  std::string host; ///< ADDRESS:PORT of the node that starts it; "" = this host
};

/// The processes that a pipeline's placement asks for, first incarnations.
std::vector<placed_process> placed_processes(const pipeline::pipeline& p);

/// The roles that live in the run's own process, without the source, which always does: the run starts it.
std::vector<role_instance> embedded_roles(const pipeline::pipeline& p);

/// Decides whether a process that died is started again. A process may die `allowed_deaths` times within `window_s`,
/// and twice in a row before its role is ready. It uses no clock and no process.
class restart_rule {
public:
  static constexpr std::size_t allowed_deaths = 5;
  static constexpr double window_s = 60;
  static constexpr int allowed_false_starts = 2;

  void ready(const std::string& instance) { false_starts_.erase(instance); }

  /// The process of `instance` died at `now`. @returns "" to start it again, else why not
  std::string died(const std::string& instance, const std::string& how, double now);

private:
  std::map<std::string, std::deque<double>> deaths_;
  std::map<std::string, int> false_starts_;
};

} // namespace millrace::supervision
