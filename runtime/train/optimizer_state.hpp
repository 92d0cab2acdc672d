#pragma once

#include "runtime/train/optimizer.hpp"

#include <filesystem>

namespace millrace::train {

/// Makes the file of an optimizer's moments and update count in an existing folder, with room for the moments of all
/// ranks. @throws input_error
void make_optimizer_file(const adamw& optimizer, const std::filesystem::path& folder);

/// Writes the moments that this optimizer has into that file, side by side with other ranks. @throws input_error
void write_moments(const adamw& optimizer, const std::filesystem::path& folder);

/// Reads what all ranks wrote, any number of them; of a piece of a parameter only its part.
/// @throws input_error naming the file that is missing, truncated or of another model
void load_optimizer(adamw& optimizer, const std::filesystem::path& folder);

} // namespace millrace::train
