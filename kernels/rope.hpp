#pragma once

#include <cstdint>

struct CUstream_st;

namespace millrace::kernels {

class thread_team;

/// Rotates the halves of each head by the angle of the row's position, in place:
///
///     x1' = x1 cos - x2 sin,   x2' = x2 cos + x1 sin,   x1 and x2 the first and second half of a head
///
/// Source: Su et al. 2021, arXiv:2104.09864; halves instead of pairs as in Hugging Face's decoders.
struct rope_args {
  float* x;                      ///< [rows, heads, head_dim]
  const std::int64_t* positions; ///< [rows], each in [0, positions of the table)
  const float* cos;              ///< [max_positions, head_dim / 2]
  const float* sin;              ///< like cos
  std::int64_t rows;             ///< >= 0
  std::int64_t heads;            ///< >= 1
  std::int64_t head_dim;         ///< even, >= 2
};

/// @throws std::invalid_argument if a size is out of range
void rope_reference(const rope_args& args);

/// A row's result depends on that row and its position only, bit for bit.
void rope(const rope_args& args, thread_team& team);

/// Enqueues on `stream`; all memory is the device's. @throws std::runtime_error with CUDA's own text
void rope_cuda(const rope_args& args, CUstream_st* stream);

} // namespace millrace::kernels
