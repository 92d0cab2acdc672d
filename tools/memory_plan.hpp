#pragma once

#include "runtime/pipeline/pipeline.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::tools {

/// What one role keeps in memory, as far as its table and the shape of its model say it.
struct planned_memory {
  std::string role;
  std::int64_t processes = 1; ///< that each keep it
  std::int64_t bytes = 0;     ///< in one process: at least so much
  std::string parts;          ///< in words: "weights 513.1 MiB, gradients 513.1 MiB"
};

/// The roles that keep a model, in the pipeline's order: weights, what trains them, and the caches of answers that are
/// written at once. Activations and the program itself come on top. A model that an earlier stage writes
/// has no shape yet: its roles are left out.
/// @throws input_error for a model that cannot be read
std::vector<planned_memory> planned_memory_of(const pipeline::pipeline& p);

/// "1.5 GiB"
std::string bytes_in_words(std::int64_t bytes);

} // namespace millrace::tools
