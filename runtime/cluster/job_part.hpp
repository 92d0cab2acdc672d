#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace millrace::cluster {

/// What one process is in a job of several hosts: the process of rank 0 is the run, the others are nodes, one a host.
struct job_part {
  std::string launcher; ///< who said so: "Slurm"
  std::int64_t rank = 0;
  std::vector<std::string> hosts; ///< names or addresses, by rank
  std::uint16_t port = 0;         ///< of every node; the same on all hosts

  bool is_run() const { return rank == 0; }
};

/// The variable that names the hosts of a job by rank, as `hosts_in` reads it, where the launcher does not.
inline constexpr const char* hosts_variable = "MILLRACE_HOSTS";
/// The variable that says the rank where nobody else does.
inline constexpr const char* rank_variable = "MILLRACE_RANK";

/// The value of a variable, or nullptr.
using environment = std::function<const char*(const char* variable)>;

/// The part of this process by what launchers put into the environment of each process: Slurm's `srun`, an Indexed Job
/// of Kubernetes, torchrun, Open MPI, or `rank_variable` by hand.
/// @returns nothing where none of them has started this process
/// @throws input_error in one line for variables that are missing, unreadable, or contradict each other
std::optional<job_part> part_of_job(const environment& variables);

/// The address on which the node of `part` listens: its host's, or, where this host knows its own name as a loopback
/// address, the one from which it reaches the run's. @throws input_error for a name that cannot be resolved
std::string listen_address_of(const job_part& part);

/// HOST:PORT of every node of `part`.
std::vector<std::string> nodes_of(const job_part& part);

} // namespace millrace::cluster
