#pragma once

#include "runtime/model/weights.hpp"
#include "runtime/words/precision.hpp"

#include <filesystem>
#include <map>
#include <span>
#include <string>

namespace millrace::model {

/// Writes `tensors` (sorted by name, any device) as a safetensors file, so that equal tensors give equal bytes. The
/// file appears whole or not at all. At most one tensor is copied or converted at a time.
/// @throws std::invalid_argument for names out of order
/// @throws input_error on a full disk or any other failure to write; nothing is left behind
void write_safetensors(const std::filesystem::path& path, std::span<const named_tensor> tensors,
                       precision kept = precision::float32,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

} // namespace millrace::model
