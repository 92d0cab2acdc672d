#pragma once

#include "runtime/model/checkpoint.hpp"
#include "runtime/words/precision.hpp"
#include "runtime/words/sharding.hpp"

#include <compare>
#include <cstdint>

namespace millrace::tools {

/// What ranks on one machine cost each other.
struct rank_costs {
  double contention = 1; ///< a micro-batch takes so many times as long on all ranks at once, >= 1
  /// Seconds for each number that is trained: more for each round of micro-batches, one a rank, and for each update.
  /// An update may take less than one process's, where each rank has a share of it.
  double round_number_s = 0;
  double update_number_s = 0;
};

/// Which learner is measured.
struct rank_probe {
  int ranks = 2;
  int threads = 1; ///< of each
  sharding shard = sharding::none;
  std::int64_t micro_batch_tokens = 2048;
  bool activation_checkpointing = false;
  precision compute_dtype = precision::float32;
  bool rounds_weights = false;

  auto operator<=>(const rank_probe&) const = default;
};

/// Trains a random model on random answers for some seconds, alone and with ranks that are threads of this process,
/// with Gloo between them. It is the model as far as 16 million numbers go: fewer blocks, and as much of the
/// vocabulary.
/// @param shape with the shapes of its parameters
rank_costs measure_ranks(const model::checkpoint& shape, const rank_probe& wanted);

/// Whether one block of the model is small enough to be measured.
bool measures_ranks(const model::checkpoint& shape);

} // namespace millrace::tools
