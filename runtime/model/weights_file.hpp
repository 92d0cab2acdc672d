#pragma once

#include "runtime/model/weights.hpp"

#include <filesystem>
#include <map>
#include <span>
#include <string>

namespace millrace::model {

/// What a file of weights keeps of fp32; bfloat16 rounds to nearest even.
enum class saved_dtype { float32, bfloat16 };

/// Writes `tensors` (sorted by name, any device) as a safetensors file, so that equal tensors give equal bytes. The
/// file appears whole or not at all. At most one tensor is copied or converted at a time.
/// @throws std::invalid_argument for names out of order
/// @throws input_error on a full disk or any other failure to write; nothing is left behind
void write_safetensors(const std::filesystem::path& path, std::span<const named_tensor> tensors,
                       saved_dtype dtype = saved_dtype::float32,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

} // namespace millrace::model
