#pragma once

#include <cstdint>

struct CUstream_st; // cudaStream_t without the CUDA toolkit

namespace millrace::kernels {

class thread_team;

/// y = x / sqrt(mean(x^2) + eps) * weight, row by row. y may be x.
/// Source: Zhang and Sennrich 2019, arXiv:1910.07467, with the eps inside the root as every decoder here has it.
struct rms_norm_args {
  const float* x;      ///< [rows, width]
  const float* weight; ///< [width]
  float* y;            ///< [rows, width] output
  std::int64_t rows;   ///< >= 0
  std::int64_t width;  ///< >= 1
  float eps;           ///< > 0
};

/// One row at a time, the sum in double.
/// @throws std::invalid_argument if a size is out of range
void rms_norm_reference(const rms_norm_args& args);

/// A row's result depends on that row only, bit for bit.
void rms_norm(const rms_norm_args& args, thread_team& team);

/// One block a row. Enqueues on `stream`; all memory is the device's.
/// @throws std::runtime_error with CUDA's own text if the launch fails
void rms_norm_cuda(const rms_norm_args& args, CUstream_st* stream);

} // namespace millrace::kernels
