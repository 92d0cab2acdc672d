#include "kernels/launch.cuh"
#include "kernels/swiglu.hpp"

namespace millrace::kernels {
namespace {

constexpr int block_size = 256;

__global__ void swiglu_kernel(swiglu_args a) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * block_size;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * block_size + threadIdx.x; i < a.count; i += stride)
    a.y[i] = a.gate[i] / (1.0f + expf(-a.gate[i])) * a.up[i];
}

} // namespace

void swiglu_cuda(const swiglu_args& a, CUstream_st* stream) {
  if (a.count < 0)
    throw std::invalid_argument("swiglu: need count >= 0");
  if (a.count == 0)
    return; // a grid of zero blocks is a launch error
  const std::int64_t blocks = (a.count + block_size - 1) / block_size;
  swiglu_kernel<<<static_cast<unsigned>(blocks < 65535 ? blocks : 65535), block_size, 0, stream>>>(a);
  check_launch();
}

} // namespace millrace::kernels
