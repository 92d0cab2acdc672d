#include "runtime/model/float_tensor.hpp"

#include "runtime/formats/gguf_blocks.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cstring>
#include <stdexcept>
#include <utility>

namespace millrace::model {
namespace {

/// Blocks of one kind: how many bytes each takes, and what turns them into numbers.
struct block_kind {
  std::int64_t bytes;
  void (*dequantise)(const std::byte* data, std::int64_t blocks, float* x);
};

at::Tensor copied(const formats::stored_tensor& tensor, at::ScalarType type) {
  at::Tensor out = at::empty(tensor.shape, type);
  if (!tensor.bytes.empty())
    std::memcpy(out.data_ptr(), tensor.bytes.data(), tensor.bytes.size());
  return out.to(at::kFloat);
}

at::Tensor dequantised(const formats::stored_tensor& tensor, block_kind kind) {
  constexpr std::int64_t elements = formats::block_elements;
  at::Tensor out = at::empty(tensor.shape, at::kFloat);
  float* const x = out.data_ptr<float>();
  at::parallel_for(0, out.numel() / elements, 4096, [&](std::int64_t begin, std::int64_t end) {
    kind.dequantise(tensor.bytes.data() + begin * kind.bytes, end - begin, x + begin * elements);
  });
  return out;
}

} // namespace

at::Tensor shape_alone(const formats::stored_tensor& tensor) {
  return at::empty(tensor.shape, at::TensorOptions(at::kFloat).device(at::kMeta));
}

at::Tensor to_float32(const formats::stored_tensor& tensor) {
  using formats::storage;
  switch (tensor.kind) {
  case storage::f64:
    return copied(tensor, at::kDouble);
  case storage::f32:
    return copied(tensor, at::kFloat);
  case storage::f16:
    return copied(tensor, at::kHalf);
  case storage::bf16:
    return copied(tensor, at::kBFloat16);
  case storage::q8_0:
    return dequantised(tensor, {formats::q8_0_block_bytes, formats::dequantise_q8_0});
  case storage::q4_0:
    return dequantised(tensor, {formats::q4_0_block_bytes, formats::dequantise_q4_0});
  case storage::q4_1:
    return dequantised(tensor, {formats::q4_1_block_bytes, formats::dequantise_q4_1});
  default:
    throw std::invalid_argument(tensor.name + ": want a floating-point kind, got "
                                + std::string(formats::storage_name(tensor.kind)));
  }
}

at::Tensor float32_over(const std::byte* memory, const std::vector<std::int64_t>& shape,
                        std::shared_ptr<const void> owner) {
  return at::from_blob(
      const_cast<std::byte*>(memory), shape, [owner = std::move(owner)](void*) {}, at::kFloat);
}

} // namespace millrace::model
