#include "runtime/model/weights_file.hpp"

#include "runtime/formats/safetensors.hpp"
#include "runtime/model/float_tensor.hpp"

#include <ATen/ATen.h>

namespace millrace::model {
namespace {

at::Tensor as_saved(const at::Tensor& tensor, precision kept) {
  return tensor.detach().to(at::kCPU).to(scalar_type(kept)).contiguous();
}

} // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const named_tensor> tensors, precision kept,
                       const std::map<std::string, std::string>& metadata) {
  const auto kind = kept == precision::float32 ? formats::storage::f32 : formats::storage::bf16;
  std::vector<formats::tensor_header> entries;
  for (const auto& [name, tensor] : tensors)
    entries.push_back({name, kind, tensor.sizes().vec()});
  at::Tensor saved; // holds the bytes that are being written
  const auto bytes_of = [&](std::size_t i) {
    saved = as_saved(tensors[i].tensor, kept);
    return std::span(static_cast<const std::byte*>(saved.const_data_ptr()), saved.nbytes());
  };
  formats::write_safetensors(path, entries, bytes_of, metadata);
}

} // namespace millrace::model
