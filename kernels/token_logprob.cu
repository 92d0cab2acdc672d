#include "kernels/launch.cuh"
#include "kernels/token_logprob.hpp"

#include <cmath>

namespace millrace::kernels {
namespace {

constexpr int block_size = 256;

/// Running maximum and the sum of exp((x - peak) / temperature) seen so far.
struct partial {
  float peak;
  float sum;
};

__device__ partial merge(partial a, partial b, float inverse) {
  // An empty or fully masked part has no peak: -inf minus -inf would be NaN.
  if (b.peak == -INFINITY)
    return a;
  if (a.peak == -INFINITY)
    return b;
  const float peak = fmaxf(a.peak, b.peak);
  return {peak, a.sum * expf((a.peak - peak) * inverse) + b.sum * expf((b.peak - peak) * inverse)};
}

__global__ void token_logprob_kernel(token_logprob_args a) {
  __shared__ partial shared[block_size];
  const std::int64_t t = blockIdx.x; // one block per row
  const auto target = a.targets[t];
  if (target == ignore_token) { // uniform over the block: no divergence at the barrier
    if (threadIdx.x == 0)
      a.logprob[t] = 0.0f;
    return;
  }
  const float* row = a.logits + t * a.vocab;
  const float inverse = 1.0f / a.temperature;
  partial seen{-INFINITY, 0.0f};
  for (std::int64_t v = threadIdx.x; v < a.vocab; v += block_size)
    seen = merge(seen, {row[v], 1.0f}, inverse);
  shared[threadIdx.x] = seen;
  __syncthreads();
  for (int half = block_size / 2; half > 0; half /= 2) {
    if (threadIdx.x < half)
      shared[threadIdx.x] = merge(shared[threadIdx.x], shared[threadIdx.x + half], inverse);
    __syncthreads();
  }
  if (threadIdx.x == 0)
    a.logprob[t] = (row[target] - shared[0].peak) * inverse - logf(shared[0].sum);
}

} // namespace

void token_logprob_cuda(const token_logprob_args& a, CUstream_st* stream) {
  if (a.tokens < 0 || a.vocab < 1 || !(a.temperature > 0))
    throw std::invalid_argument("token_logprob: need tokens >= 0, vocab >= 1, temperature > 0");
  if (a.tokens == 0)
    return; // a grid of zero blocks is a launch error
  token_logprob_kernel<<<static_cast<unsigned>(a.tokens), block_size, 0, stream>>>(a);
  check_launch();
}

} // namespace millrace::kernels
