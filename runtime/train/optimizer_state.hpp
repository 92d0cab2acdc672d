#pragma once

#include "runtime/train/optimizer.hpp"

#include <filesystem>

namespace millrace::train {

/// Writes the optimizer's moments and step count to `folder`.
void save_optimizer(const adamw& optimizer, const std::filesystem::path& folder);

/// Reads what `save_optimizer` wrote, into the optimizer of the same parameters.
/// @throws input_error naming the file that is missing, truncated or of another model
void load_optimizer(adamw& optimizer, const std::filesystem::path& folder);

} // namespace millrace::train
