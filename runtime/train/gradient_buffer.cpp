#include "runtime/train/gradient_buffer.hpp"

#include <ATen/ATen.h>

namespace millrace::train {
namespace {

/// Floats of a cache line: kernels find every gradient aligned as if it were a tensor of its own.
constexpr std::int64_t line = 16;

std::int64_t lines_of(std::int64_t numbers) {
  return (numbers + line - 1) / line;
}

} // namespace

gradient_buffer::gradient_buffer(const model::weights& parameters) {
  std::int64_t lines = 0;
  for (const auto& parameter : parameters)
    lines += lines_of(parameter.tensor.numel());
  const auto options = parameters.empty() ? at::TensorOptions() : parameters.front().tensor.options();
  flat_ = at::zeros({lines * line}, options.dtype(at::kFloat).requires_grad(false));
  std::int64_t begin = 0;
  for (const auto& parameter : parameters) {
    at::Tensor leaf = parameter.tensor;
    leaf.mutable_grad() = flat_.narrow(0, begin, leaf.numel()).view(leaf.sizes());
    begin += lines_of(leaf.numel()) * line;
  }
}

std::int64_t gradient_buffer::share_begin(int rank, int size) const {
  return flat_.numel() / line * rank / size * line;
}

} // namespace millrace::train
