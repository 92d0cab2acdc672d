#pragma once

#include "runtime/collective/device_wire.hpp"
#include "runtime/collective/gloo_group.hpp"
#include "runtime/words/rank_wire.hpp"

#include <memory>
#include <string>

namespace millrace::collective {

struct connected_ranks {
  std::unique_ptr<group> ranks;
  std::string how; ///< "NCCL 2.28.9", "Gloo", or "Gloo: rank 1 computes on cpu"
};

/// Connects the ranks to one group. Over Gloo they tell each other where they compute; if each has a GPU of its own,
/// and all have the same NCCL, tensors on GPUs go over NCCL from then on. Blocks until all are connected.
///
/// @param wire the same on all ranks @param port of what this rank computes on; nullptr: a CPU
/// @throws as connect_gloo @throws std::runtime_error in one line, on all ranks, if `wire` wants NCCL and they cannot
connected_ranks connect_ranks(const gloo_options& options, rank_wire wire, const device_port* port,
                              const std::shared_ptr<rendezvous>& words);

} // namespace millrace::collective
