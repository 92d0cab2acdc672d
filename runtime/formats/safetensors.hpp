#pragma once

#include "runtime/formats/durable_write.hpp"
#include "runtime/formats/mapped_file.hpp"
#include "runtime/formats/stored_tensor.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::formats {

/// What a safetensors header may cost. The format itself ends at 100,000,000 bytes.
struct safetensors_limits {
  std::int64_t header_bytes = 16 << 20;
  std::int64_t tensors = 100'000;
};

/// A safetensors file, mapped: 8 bytes of little-endian header length N, N bytes of JSON, then the tensors' bytes, all
/// of them covered exactly once. A file that breaks any of it is refused as a whole, before a tensor is touched.
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

  /// As `mapped_file` does. @param read one of `tensors()`
  void let_go(const stored_tensor& read) const { file_.let_go(read.bytes); }

  /// `__metadata__`.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

private:
  mapped_file file_;
  std::vector<stored_tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// A tensor that is to be written.
struct tensor_header {
  std::string name;
  storage kind = storage::f32;
  std::vector<std::int64_t> shape; ///< outermost first
};

/// Gives the bytes of the i-th entry, exactly as many as its shape takes. They are read before the next call.
using entry_bytes = std::function<std::span<const std::byte>(std::size_t i)>;

/// Writes `entries` (sorted by name) so that equal tensors give equal bytes. The file appears whole or not at all: it
/// is written beside `path`, synced, then renamed. Each tensor's bytes are asked for once, in order.
/// @throws std::invalid_argument for names out of order, a shape that cannot be counted, or bytes that do not fill it
/// @throws input_error on a full disk or any other failure to write; nothing is left behind
void write_safetensors(const std::filesystem::path& path, std::span<const tensor_header> entries,
                       const entry_bytes& bytes_of, const std::map<std::string, std::string>& metadata);

/// A safetensors file that several writers fill side by side, each its part, from processes or hosts that share a
/// folder. All of them give the same entries and metadata; so the file has the bytes that one writer would write.
class safetensors_parts {
public:
  /// Touches nothing yet. @throws std::invalid_argument as `write_safetensors`
  safetensors_parts(std::filesystem::path path, std::vector<tensor_header> entries,
                    const std::map<std::string, std::string>& metadata);

  /// One of the writers, before any writes: the file with its header, and room for every tensor. One that is there is
  /// replaced. @throws input_error on a full disk or any other failure
  void make_room() const;

  /// @param at of the entry's bytes, from 0 @throws input_error; std::invalid_argument beyond the entry
  void write(std::size_t entry, std::int64_t at, std::span<const std::byte> bytes);

  /// The parts of this writer are on the disk. @throws input_error
  void finish();

private:
  std::filesystem::path path_;
  std::vector<tensor_header> entries_;
  std::string head_;
  std::vector<std::int64_t> begins_; ///< of each entry in the file, and the file's end
  std::optional<placed_file> file_;  ///< open since the first `write`
};

} // namespace millrace::formats
