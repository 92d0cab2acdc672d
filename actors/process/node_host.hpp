#pragma once

#include "runtime/cluster/credentials.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::actors {

/// What ends a node.
enum class node_end : std::uint8_t {
  at_signal,  ///< a signal that asks for it
  with_stdin, ///< likewise; and that nobody can write to its stdin any more: who has started it is gone
  /// The word that its run is over. A signal, which often goes to all processes of a job alike, ends it once no run
  /// uses it: the run may have to write a checkpoint with what the node's processes hold.
  with_its_run
};

struct node_options {
  std::string listen; ///< ADDRESS:PORT
  cluster::root_key secret;
  node_end end = node_end::at_signal;
  std::string join = {}; ///< ADDRESS:PORT of a run that it offers itself to; "" = runs look for it
};

/// Listens for runs on other hosts and starts their processes.
/// @returns the exit status: 0, or `stopped_status` for one that ends with its run and was not told of that end
/// @throws input_error for a bad address, or a port in use
int run_node(const node_options& options);

/// Tells nodes that their run is over. One that is gone, or does not answer, is passed over.
void end_nodes(const std::vector<std::string>& nodes, const cluster::root_key& secret);

} // namespace millrace::actors
