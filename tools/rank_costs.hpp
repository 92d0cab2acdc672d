#pragma once

#include "runtime/pipeline/cluster_table.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/schedule/workload.hpp"
#include "runtime/words/sharding.hpp"
#include "tools/rank_probe.hpp"

#include <cstdint>

namespace millrace::tools {

/// Bytes that each rank receives.
struct rank_traffic {
  double a_round = 0;   ///< for each round of micro-batches, one a rank
  double an_update = 0; ///< besides, for each update
};

/// @param numbers that are trained, in fp32
rank_traffic traffic_of(std::uint64_t numbers, std::int64_t ranks, sharding shard);

/// Numbers that the pipeline's policy trains. @throws input_error for a model that cannot be read
std::uint64_t trained_numbers_of(const pipeline::pipeline& p);

/// The costs of a cluster, whose GPUs train as one, made those of the pipeline's ranks and dtype where the cluster's
/// file says how fast bytes travel. Every rank has as many of the GPUs.
schedule::workload with_traffic(schedule::workload costs, const pipeline::pipeline& p,
                                const pipeline::cluster_table& cluster);

/// The costs of a learner of one process, made those of the pipeline's ranks. `train_s` is what a step takes whatever
/// its micro-batches: above all the optimizer.
schedule::workload with_ranks(schedule::workload costs, const pipeline::pipeline& p, const rank_costs& of_ranks);

} // namespace millrace::tools
