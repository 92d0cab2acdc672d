#pragma once

#include "runtime/formats/mapped_file.hpp"
#include "runtime/formats/stored_tensor.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace millrace::formats {

/// One metadata value. Integers of every width are 64 bits here; `bool` arrays are integers 0 and 1.
struct gguf_value {
  using array = std::vector<gguf_value>;
  std::variant<std::int64_t, std::uint64_t, double, bool, std::string, std::vector<std::int64_t>, std::vector<double>,
               std::vector<std::string>, array>
      value;
};

struct gguf_limits {
  std::uint64_t tensors = 100'000;
  std::uint64_t keys = 100'000;
  std::uint64_t string_bytes = 16 << 20;   ///< of one string
  std::uint64_t array_elements = 16 << 20; ///< of one array
  int array_depth = 4;
};

/// A GGUF file (version 2 or 3, little-endian), mapped: its metadata by key and its tensors by name, shapes turned to
/// outermost-first. Every length is checked against the file before anything is allocated.
///
/// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
/// Differs from it in: tensor types are F32, F16, BF16, F64, Q8_0, Q4_0, Q4_1; any other is refused by name.
class gguf_file {
public:
  /// @throws input_error `path: what was found, what was wanted`
  explicit gguf_file(const std::filesystem::path& path, gguf_limits limits = {});

  const std::string& path() const { return path_; }

  /// Sorted by name.
  const std::vector<stored_tensor>& tensors() const { return tensors_; }

  const stored_tensor* find(std::string_view name) const;

  /// As `mapped_file` does. @param read one of `tensors()`
  void let_go(const stored_tensor& read) const { file_.let_go(read.bytes); }

  /// @returns null when there is no such key
  const gguf_value* value(std::string_view key) const;

  // Each returns nothing when the key is missing.
  // @throws input_error when the key is there with another type (or, for integers, a value beyond int64)
  std::optional<std::int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> flag(std::string_view key) const;
  const std::string* text(std::string_view key) const;
  const std::vector<std::string>* texts(std::string_view key) const;
  const std::vector<std::int64_t>* integers(std::string_view key) const;

private:
  std::string path_;
  mapped_file file_;
  std::map<std::string, gguf_value, std::less<>> metadata_;
  std::vector<stored_tensor> tensors_;
};

} // namespace millrace::formats
