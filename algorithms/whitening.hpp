#pragma once

#include "algorithms/options.hpp"

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

enum class whitening { off, biased, unbiased };

/// The options of whitened advantages.
constexpr option whitening_option(whitening fallback) {
  return {"whitening", static_cast<double>(fallback), 0, 2, "0: none; over the tokens of the step, 1: by the biased, 2: by the unbiased variance"};
}
inline constexpr option whitening_eps{"eps", 1e-8, 0, 1, "added to the variance"};

/// (x - mean(x)) / sqrt(var(x) + eps) as the options `whitening` and `eps` of the row say; exactly 0 where all are equal.
/// @param x [N] floating point   @returns [N]
at::Tensor whiten(const at::Tensor& x, const option_values& values);

} // namespace millrace::algorithms
