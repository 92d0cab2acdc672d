#pragma once

#include <cstdint>

struct CUstream_st;

namespace millrace::kernels {

class thread_team;

/// y = gate / (1 + exp(-gate)) * up, element by element. y may be gate or up.
/// Source: Shazeer 2020, arXiv:2002.05202.
struct swiglu_args {
  const float* gate;  ///< [count]
  const float* up;    ///< [count]
  float* y;           ///< [count] output
  std::int64_t count; ///< >= 0
};

/// In double. @throws std::invalid_argument if `count` is negative
void swiglu_reference(const swiglu_args& args);

/// Within a few units in the last place; an element depends on its two inputs only, bit for bit.
void swiglu(const swiglu_args& args, thread_team& team);

/// Enqueues on `stream`; all memory is the device's. @throws std::runtime_error with CUDA's own text
void swiglu_cuda(const swiglu_args& args, CUstream_st* stream);

} // namespace millrace::kernels
