#pragma once

#include <cstdint>

struct CUstream_st;

namespace millrace::kernels {

class thread_team;

/// How a token is drawn. The filters apply one after another, as `transformers` has them: top-k, then top-p over what
/// top-k left, then min-p.
struct sampling_rule {
  float temperature = 1;  ///< >= 0; 0 = the likeliest token, the first of equals
  std::int32_t top_k = 0; ///< the k likeliest; 0 = all
  float top_p = 1;        ///< in (0, 1]: the likeliest that together have at least this probability
  float min_p = 0;        ///< in [0, 1]: those at least this many times as likely as the likeliest
};

/// One token for each row of logits.
struct sample_token_args {
  const float* const* logits; ///< [rows] of [vocab], may repeat; -inf = masked out, one finite per row
  const sampling_rule* rules; ///< [rows]
  const double* uniform;      ///< [rows], in [0, 1)
  std::int32_t* token;        ///< [rows] output
  float* logprob;             ///< [rows] output: of the token in softmax(logits / temperature) over all words, nats
  std::int64_t rows;          ///< >= 0
  std::int64_t vocab;         ///< >= 1
};

/// Inverts the cumulative distribution at `uniform`. A row's result depends on that row only, bit for bit.
/// With temperature 0 the log-probability is that at temperature 1.
/// @throws std::invalid_argument if a size or a rule is out of range
void sample_token(const sample_token_args& args, thread_team& team);

/// Sorts the whole vocabulary and sums in double.
/// @throws std::invalid_argument as above
void sample_token_reference(const sample_token_args& args);

/// One block a row; the same words, unless rounding decides between two, and as on the CPU a row's result depends on
/// that row only, bit for bit. Words less than 2^-41 times as likely as the likeliest are never drawn. Enqueues on
/// `stream`; all memory is the device's, so that nobody looks at the rules.
/// @throws std::invalid_argument if a size is out of range; vocab <= 2^23
/// @throws std::runtime_error with CUDA's own text if the launch fails
void sample_token_cuda(const sample_token_args& args, CUstream_st* stream);

} // namespace millrace::kernels
