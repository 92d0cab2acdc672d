#pragma once

#include <ATen/Parallel.h>

namespace millrace::model {

/// LibTorch and MKL compute what the calling thread asks for with so many threads; 0 or less changes nothing.
///
/// It is said even where it is so already. Until a program has said it once, MKL picks its number of threads by itself
/// (MKL_DYNAMIC), with other bits in its sums: a run and its replay would differ on processors where MKL picks fewer.
inline void use_computing_threads(int threads) {
  if (threads > 0)
    at::set_num_threads(threads);
}

} // namespace millrace::model
