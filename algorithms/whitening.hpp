#pragma once

#include "algorithms/hyperparameters.hpp"

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

enum class whitening { off, biased, unbiased };

namespace shared_options {

/// The options of whitened advantages.
constexpr hyperparameter whitening_option(whitening fallback) {
  return {
      .name = "whitening",
      .fallback = static_cast<double>(fallback),
      .low = 0,
      .high = 2,
      .meaning = "advantages are whitened over the step's tokens. 0: no; 1: by the biased variance; 2: by the unbiased",
      .takes = range::whole,
  };
}

inline constexpr hyperparameter whitening_eps{
    .name = "eps",
    .fallback = 1e-8,
    .low = 0,
    .high = 1,
    .meaning = "added to the variance",
};

} // namespace shared_options

/// (x - mean(x)) / sqrt(var(x) + eps), by the options `whitening` and `eps` of the row; exactly 0 where all x are
/// equal.
/// @param x [N] floating point   @returns [N]
at::Tensor whiten(const at::Tensor& x, const hyperparameter_values& values);

} // namespace millrace::algorithms
