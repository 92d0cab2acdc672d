#pragma once

#include "runtime/environments/environment.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/roles/evaluation_episodes.hpp"
#include "runtime/rollout/engine.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::tools {

/// What an environment said while episodes were played with it.
struct reply_figures {
  std::vector<double> seconds;    ///< from the end of each turn to its reply
  std::int64_t said = 0;          ///< replies that an answer went on with
  std::int64_t observed = 0;      ///< tokens of these
  std::int64_t failed_groups = 0; ///< whose episodes could not go on
  std::string first_failure;      ///< why; "" = none failed
};

/// The environment of a rollout, played with by one thread that also decodes: for measuring. It is started as a run
/// starts it, processes and deadlines included.
class measured_environment {
public:
  /// @param words  of the rollout's model; stay where they are
  /// @throws pipeline::pipeline_errors where the environment cannot be used
  measured_environment(const pipeline::pipeline& p, const pipeline::rollout_table& table,
                       const model::checkpoint& words);

  /// Begins the episodes of a group; `begun` has its prompt.
  void begin(std::uint64_t group, const environments::episode_row& row, std::int32_t answers, std::uint64_t seed);

  /// Waits until every group that was begun has its prompt. @param mean_s of a group, from `begin` on
  /// @throws input_error where the environment refuses one, or says nothing for a minute and its deadline, as `hear`
  std::map<std::uint64_t, environments::beginning> begun(double& mean_s);

  /// Asks for replies to the turns that ended with the engine's last step.
  void ask(const rollout::engine& engine);

  /// Hands replies that came to the engine; waits for one where the engine has nothing else to do.
  void hear(rollout::engine& engine);

  void end(std::uint64_t group) { episodes_->end(group); }

  const reply_figures& figures() const { return figures_; }

private:
  roles::evaluation_episodes::arrivals arrived(bool wait);

  using steady = std::chrono::steady_clock;

  const model::checkpoint& words_;
  pipeline::environment_table table_;
  std::unique_ptr<environments::environment> plays_;
  std::optional<roles::evaluation_episodes> episodes_;                         ///< goes first
  std::map<std::uint64_t, steady::time_point> beginning_;                      ///< by group
  std::map<std::pair<std::uint64_t, std::int32_t>, steady::time_point> asked_; ///< by group and answer
  reply_figures figures_;
};

} // namespace millrace::tools
