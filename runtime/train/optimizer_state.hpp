#pragma once

#include "runtime/train/optimizer.hpp"

#include <filesystem>

namespace millrace::train {

/// Moments of parameters, of each under its `<name>.m` and `<name>.v`, sorted by name.
/// @param first, second whole, one for each parameter
model::weights named_moments(const model::weights& parameters, const std::vector<at::Tensor>& first,
                             const std::vector<at::Tensor>& second);

/// Writes moments and the update count into an existing folder. @throws input_error
void save_optimizer(const model::weights& moments, std::int64_t steps, const std::filesystem::path& folder);

/// Reads what `save_optimizer` wrote; of a piece of a parameter only its part.
/// @throws input_error naming the file that is missing, truncated or of another model
void load_optimizer(adamw& optimizer, const std::filesystem::path& folder);

} // namespace millrace::train
