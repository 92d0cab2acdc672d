#pragma once

#include "runtime/formats/safetensors.hpp"
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

/// A safetensors file of fp32 tensors that several writers fill side by side, each its part of the numbers. All of them
/// give the same names and shapes; so the file has the bytes that `write_safetensors` would write.
class weights_file_parts {
public:
  /// @param shapes sorted by name; no value of theirs is read
  weights_file_parts(const std::filesystem::path& path, std::span<const named_tensor> shapes,
                     const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

  /// As `formats::safetensors_parts::make_room`.
  void make_room() const { file_.make_room(); }

  /// @param tensor its place among the shapes @param begin of the tensor's numbers, row by row
  /// @param numbers on any device @throws input_error
  void write(std::size_t tensor, std::int64_t begin, const at::Tensor& numbers);

  /// @throws input_error
  void finish() { file_.finish(); }

private:
  formats::safetensors_parts file_;
};

} // namespace millrace::model
