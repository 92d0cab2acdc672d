#include "kernels/launch.cuh"
#include "kernels/rope.hpp"

namespace millrace::kernels {
namespace {

constexpr int block_size = 256;

__global__ void rope_kernel(rope_args a) {
  const std::int64_t half = a.head_dim / 2, pairs = a.heads * half;
  const std::int64_t row = blockIdx.x; // one block per row
  const float* cos = a.cos + a.positions[row] * half;
  const float* sin = a.sin + a.positions[row] * half;
  for (std::int64_t p = threadIdx.x; p < pairs; p += block_size) {
    const std::int64_t i = p % half;
    float* head = a.x + (row * a.heads + p / half) * a.head_dim;
    const float x1 = head[i], x2 = head[half + i];
    head[i] = x1 * cos[i] - x2 * sin[i];
    head[half + i] = x2 * cos[i] + x1 * sin[i];
  }
}

} // namespace

void rope_cuda(const rope_args& a, CUstream_st* stream) {
  if (a.rows < 0 || a.heads < 1 || a.head_dim < 2 || a.head_dim % 2 != 0)
    throw std::invalid_argument("rope: need rows >= 0, heads >= 1 and an even head_dim >= 2");
  if (a.rows == 0)
    return; // a grid of zero blocks is a launch error
  rope_kernel<<<static_cast<unsigned>(a.rows), block_size, 0, stream>>>(a);
  check_launch();
}

} // namespace millrace::kernels
