#pragma once

#include "runtime/model/mapped_file.hpp"
#include "runtime/model/stored_tensor.hpp"
#include "runtime/model/weights.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::model {

/// What a safetensors header may cost. The format itself ends at 100,000,000 bytes.
struct safetensors_limits {
  std::int64_t header_bytes = 16 << 20;
  std::int64_t tensors = 100'000;
};

/// A safetensors file, mapped: 8 bytes of little-endian header length N, N bytes of JSON, then the tensors' bytes, all of
/// them covered exactly once. A file that breaks any of it is refused as a whole, before a tensor is touched.
///
/// Source: https://github.com/huggingface/safetensors, README "Format".
/// Differs from it in: float8 and float4 kinds are refused; at most `tensors` tensors and 8 dimensions.
class safetensors_file {
public:
  /// @throws input_error `path: what was found, what was wanted`
  explicit safetensors_file(const std::filesystem::path& path, safetensors_limits limits = {});

  /// Sorted by name.
  const std::vector<stored_tensor>& tensors() const { return tensors_; }

  /// @returns null when there is none of that name
  const stored_tensor* find(std::string_view name) const;

  /// `__metadata__`.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

private:
  mapped_file file_;
  std::vector<stored_tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// What a file of weights keeps of fp32; bfloat16 rounds to nearest even.
enum class saved_dtype { float32, bfloat16 };

/// Writes `tensors` (sorted by name, any device) so that equal tensors give equal bytes. The file appears whole or not
/// at all: it is written beside `path`, synced, then renamed.
/// @throws input_error on a full disk or any other failure to write; nothing is left behind
void write_safetensors(const std::filesystem::path& path, std::span<const named_tensor> tensors,
                       saved_dtype dtype = saved_dtype::float32,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

} // namespace millrace::model
