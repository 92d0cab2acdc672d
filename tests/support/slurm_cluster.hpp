#pragma once

#include "tests/support/temporary_folder.hpp"
#include "tests/support/two_hosts.hpp"

#include <memory>
#include <string>
#include <vector>

namespace millrace::tests {

/// Slurm on two hosts of this machine, `mill-a` (10.99.0.1, with slurmctld) and `mill-b`: real daemons, one slurmd a
/// host. A job that is queued again starts after seconds. Everything ends with this object.
class slurm_cluster {
public:
  slurm_cluster();  ///< @throws std::runtime_error if the nodes do not become idle
  ~slurm_cluster(); ///< kills every process of both hosts
  slurm_cluster(const slurm_cluster&) = delete;
  slurm_cluster& operator=(const slurm_cluster&) = delete;

  /// A command line that runs `command` (an absolute path first) on mill-a, where jobs are submitted.
  std::vector<std::string> on_a(const std::vector<std::string>& command) const;

  /// What a command on mill-a prints. @throws std::runtime_error if it fails
  std::string ask(const std::vector<std::string>& command) const;

  /// "RUNNING", "PENDING", "COMPLETED" of a job.
  std::string state_of(const std::string& job) const;
  /// A field of `scontrol show job`.
  std::string field_of(const std::string& job, const std::string& name) const;

  /// How many processes of both hosts have this name.
  std::size_t processes_called(const std::string& name) const;

private:
  std::vector<pid_t> processes() const;
  std::vector<std::string> daemon(const std::string& host, const std::vector<std::string>& command) const;

  temporary_folder folder_;
  two_hosts hosts_;
  std::vector<std::unique_ptr<running_command>> daemons_;
};

/// Whether a test can have a `slurm_cluster`. If not, it says aloud that it is skipped.
bool can_have_slurm();

} // namespace millrace::tests
