#include "runtime/model/weights_file.hpp"

#include "runtime/formats/safetensors.hpp"
#include "runtime/model/float_tensor.hpp"

#include <ATen/ATen.h>

namespace millrace::model {
namespace {

at::Tensor as_saved(const at::Tensor& tensor, precision kept) {
  return tensor.detach().to(at::kCPU).to(scalar_type(kept)).contiguous();
}

std::vector<formats::tensor_header> entries_of(std::span<const named_tensor> tensors, precision kept) {
  const auto kind = kept == precision::float32 ? formats::storage::f32 : formats::storage::bf16;
  std::vector<formats::tensor_header> entries;
  for (const auto& [name, tensor] : tensors)
    entries.push_back({name, kind, tensor.sizes().vec()});
  return entries;
}

std::span<const std::byte> bytes_in(const at::Tensor& saved) {
  return {static_cast<const std::byte*>(saved.const_data_ptr()), saved.nbytes()};
}

} // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const named_tensor> tensors, precision kept,
                       const std::map<std::string, std::string>& metadata) {
  at::Tensor saved; // holds the bytes that are being written
  const auto bytes_of = [&](std::size_t i) {
    saved = as_saved(tensors[i].tensor, kept);
    return bytes_in(saved);
  };
  formats::write_safetensors(path, entries_of(tensors, kept), bytes_of, metadata);
}

weights_file_parts::weights_file_parts(const std::filesystem::path& path, std::span<const named_tensor> shapes,
                                       const std::map<std::string, std::string>& metadata)
    : file_(path, entries_of(shapes, precision::float32), metadata) {
}

void weights_file_parts::write(std::size_t tensor, std::int64_t begin, const at::Tensor& numbers) {
  const at::Tensor saved = as_saved(numbers, precision::float32);
  file_.write(tensor, begin * saved.element_size(), bytes_in(saved));
}

} // namespace millrace::model
