#pragma once

#include <cuda_runtime.h>

#include <stdexcept>

namespace millrace::kernels {

/// Throws CUDA's own words if the launch before it failed.
inline void check_launch() {
  if (const auto rc = cudaGetLastError(); rc != cudaSuccess)
    throw std::runtime_error(cudaGetErrorString(rc));
}

/// The sum of `value` over the threads of a block, in every thread. `shared` [block_size].
template <int block_size>
__device__ float block_sum(float value, float* shared) {
  shared[threadIdx.x] = value;
  __syncthreads();
  for (int half = block_size / 2; half > 0; half /= 2) {
    if (threadIdx.x < half)
      shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  return shared[0];
}

} // namespace millrace::kernels
