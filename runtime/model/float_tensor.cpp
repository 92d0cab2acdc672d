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
  return out;
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
  const auto type = tensor.kind == formats::storage::bf16 ? at::kBFloat16 : at::kFloat;
  return at::empty(tensor.shape, at::TensorOptions(type).device(at::kMeta));
}

at::Tensor to_float32(const formats::stored_tensor& tensor) {
  using formats::storage;
  switch (tensor.kind) {
  case storage::f64:
    return copied(tensor, at::kDouble).to(at::kFloat);
  case storage::f32:
    return copied(tensor, at::kFloat);
  case storage::f16:
    return copied(tensor, at::kHalf).to(at::kFloat);
  case storage::bf16:
    return copied(tensor, at::kBFloat16).to(at::kFloat);
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

at::Tensor to_floats(const formats::stored_tensor& tensor, std::optional<precision> kept) {
  if (kept != precision::float32 && tensor.kind == formats::storage::bf16)
    return copied(tensor, at::kBFloat16);
  return to_float32(tensor).to(scalar_type(kept.value_or(precision::float32)));
}

at::Tensor floats_of_shape(const std::vector<std::int64_t>& shape, precision kept) {
  return at::empty(shape, scalar_type(kept));
}

at::ScalarType scalar_type(precision kept) {
  return kept == precision::float32 ? at::kFloat : at::kBFloat16;
}

weights in_precision(const weights& parameters, precision kept) {
  weights out;
  for (const auto& [name, tensor] : parameters)
    out.push_back({name, tensor.detach().to(scalar_type(kept)).contiguous()});
  return out;
}

at::Tensor widened(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 ? tensor.to(at::kFloat) : tensor;
}

at::Tensor floats_over(const std::byte* memory, const std::vector<std::int64_t>& shape, precision kept,
                       std::shared_ptr<const void> owner) {
  return at::from_blob(
      const_cast<std::byte*>(memory), shape, [owner = std::move(owner)](void*) {}, scalar_type(kept));
}

} // namespace millrace::model
