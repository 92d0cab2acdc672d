#pragma once

#include <cstdint>

namespace millrace::algorithms {

/// Unbiased estimate of the probability that at least one of k answers is correct, from n answers of which c are: the
/// share of the subsets of size k that hold a correct one.
///
///     pass@k = 1 - C(n - c, k) / C(n, k) = 1 - product over i in (n - c, n] of (1 - k / i)
///
/// @param n >= 1   @param c in [0, n]   @param k in [1, n]
/// @throws std::invalid_argument naming the argument that is out of range
///
/// Source: Chen et al. 2021, arXiv:2107.03374, section 2.1. Differs from it in: nothing.
double pass_at_k(std::int64_t n, std::int64_t c, std::int64_t k);

} // namespace millrace::algorithms
