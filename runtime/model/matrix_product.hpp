#pragma once

#include <ATen/core/Tensor.h>

namespace millrace::model {

/// a b^T + bias, without autograd, on any device and strides.
///
/// On the CPU in float this is oneDNN's product: LibTorch's own goes to MKL, which on AMD runs AVX2 code at half the
/// rate (2 threads of a Zen 5: 200 against 440 GFLOP/s at m = 1248, n = 1536, k = 576). More than 384 inputs are summed
/// in pieces, which costs a sixth of the time and makes logits of long texts as exact as transformers' own.
///
/// In bfloat16 sums are fp32, and rounded once. A processor that has no products of bfloat16 multiplies the same
/// numbers in fp32, which is exact.
///
/// @param a [m, k]   @param b [n, k]   @param bias [n] or undefined   @returns [m, n], of the type of all
at::Tensor product_transposed(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias = {});

/// a b, for gradients: sums in one piece.   @param a [m, k]   @param b [k, n]   @returns [m, n]
at::Tensor product(const at::Tensor& a, const at::Tensor& b);

/// The same of bfloat16, without the rounding.   @returns [m, n] fp32
at::Tensor wide_product_transposed(const at::Tensor& a, const at::Tensor& b);
at::Tensor wide_product(const at::Tensor& a, const at::Tensor& b);

} // namespace millrace::model
