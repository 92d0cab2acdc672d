#pragma once

#include <cstdint>

struct CUstream_st;

namespace millrace::kernels {

class thread_team;

/// Targets with this value get log-probability 0 and are not looked up.
inline constexpr std::int32_t ignore_token = -1;

/// logprob[t] = log softmax(logits[t] / temperature)[targets[t]]. Plain views; all memory lives where the
/// implementation runs.
struct token_logprob_args {
  const float* logits;         ///< [tokens, vocab] row-major; -inf = masked out, one finite per row
  const std::int32_t* targets; ///< [tokens], in [0, vocab) or `ignore_token`
  float* logprob;              ///< [tokens] output, nats
  std::int64_t tokens;         ///< >= 0
  std::int64_t vocab;          ///< >= 1
  float temperature = 1;       ///< > 0
};

/// Sums in double.
/// @throws std::invalid_argument if a size or the temperature is out of range
void token_logprob_reference(const token_logprob_args& args);

/// A row's result depends on that row only, bit for bit, and equals what `sample_token` says of the same token.
void token_logprob(const token_logprob_args& args, thread_team& team);

/// One block per row, online softmax in float. Enqueues on `stream` and returns at once.
/// @throws std::runtime_error with CUDA's own text if the launch fails
void token_logprob_cuda(const token_logprob_args& args, CUstream_st* stream);

} // namespace millrace::kernels
