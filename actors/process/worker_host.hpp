#pragma once

#include "runtime/words/role_instance.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::actors {

/// Environment variable that carries a process's token: command lines can be read by others.
inline constexpr const char* token_variable = "MILLRACE_TOKEN";
/// The one that carries the key of the run's port on this host, as `access::hex` writes it.
inline constexpr const char* key_variable = "MILLRACE_KEY";

/// The one that carries the root of the secret that a node and its runs share, likewise.
inline constexpr const char* root_variable = "MILLRACE_ROOT";

/// Where a placed process finds its run and what it is for.
struct worker_options {
  std::string coordinator_host;
  std::uint16_t coordinator_port = 0;
  role_instance role;
  std::string host;                 ///< the node's name in the placement, over TLS; "" = the coordinator's own host
  std::uint32_t heartbeat_ms = 200; ///< as the run has it: both sides must agree
  std::uint32_t peer_timeout_ms = 2000;
};

/// What CUDA_VISIBLE_DEVICES of a process is to be that sees this GPU of this host alone.
/// @param gpu from 0   @throws input_error if this host does not have it
std::string gpu_of_host(std::uint32_t gpu);

/// The command line that makes this program such a process.
std::vector<std::string> worker_arguments(const worker_options& options);

/// Joins the run and lives until it ends. @returns the exit status
/// @throws input_error if the run cannot be found or does not let this process in
int run_worker(const worker_options& options);

} // namespace millrace::actors
