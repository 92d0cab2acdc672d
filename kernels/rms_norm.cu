#include "kernels/launch.cuh"
#include "kernels/rms_norm.hpp"

namespace millrace::kernels {
namespace {

constexpr int block_size = 256;

__global__ void rms_norm_kernel(rms_norm_args a) {
  __shared__ float shared[block_size];
  const float* x = a.x + static_cast<std::int64_t>(blockIdx.x) * a.width; // one block per row
  float* y = a.y + static_cast<std::int64_t>(blockIdx.x) * a.width;
  float squares = 0;
  for (std::int64_t i = threadIdx.x; i < a.width; i += block_size)
    squares += x[i] * x[i];
  const float scale = rsqrtf(block_sum<block_size>(squares, shared) / static_cast<float>(a.width) + a.eps);
  for (std::int64_t i = threadIdx.x; i < a.width; i += block_size)
    y[i] = x[i] * scale * a.weight[i];
}

} // namespace

void rms_norm_cuda(const rms_norm_args& a, CUstream_st* stream) {
  if (a.rows < 0 || a.width < 1)
    throw std::invalid_argument("rms_norm: need rows >= 0, width >= 1");
  if (a.rows == 0)
    return; // a grid of zero blocks is a launch error
  rms_norm_kernel<<<static_cast<unsigned>(a.rows), block_size, 0, stream>>>(a);
  check_launch();
}

} // namespace millrace::kernels
