#include "runtime/train/step_memory.hpp"

#include "runtime/model/token_logprob.hpp"

#include <algorithm>

namespace millrace::train {
namespace {

constexpr std::int64_t float_bytes = bytes_a_number(precision::float32);

/// Bytes that a block keeps of each token for the backward pass.
std::int64_t kept_by_block(const model::model_config& c, const pass_options& how) {
  const std::int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  std::int64_t between = 2 * c.hidden_size // what both norms make
                         + q + 2 * kv      // queries, keys, values, turned
                         + q               // attention's output
                         + 3 * c.ffn_size  // gate, up, their product
                         + 7 * how.adapter_rank;
  std::int64_t wide = 2 * c.hidden_size + 2 // what both norms read, and 1 / rms
                      + 2 * c.head_dim      // the angles of queries and of keys
                      + c.heads;            // log sums of attention
  if (c.family->norms_heads) {
    between += q + kv;
    wide += c.heads + c.kv_heads;
  }
  return between * bytes_a_number(how.computes) + wide * float_bytes;
}

/// The head's logits exist a block at a time: twice, and with the gradient of the block's words.
std::int64_t bytes_of_head(const model::model_config& c, std::int64_t rows) {
  if (c.score_head || rows == 0)
    return 0;
  const std::int64_t words = model::words_at_once(rows, c.vocab_size);
  return (2 * words * rows + words * c.hidden_size) * float_bytes;
}

} // namespace

std::int64_t budget_at_once(std::int64_t whole, std::int64_t budget, std::int64_t at_once) {
  const auto up = [](std::int64_t number, std::int64_t by) { return (number + by - 1) / by; };
  const auto batches = up(up(whole, budget), at_once) * at_once;
  return at_once == 1 ? budget : std::min(budget, up(whole, std::max<std::int64_t>(1, batches)));
}

micro_batch_size largest_micro_batch(const longest_groups& longest, std::int64_t budget) {
  const std::int64_t first = std::min(longest.answer, longest.context - longest.prompt);
  const std::int64_t rows = std::max<std::int64_t>(first - 1, 0);
  std::int64_t further = 0; // of an answer's further segments: all but the last token of each is fed
  for (std::int64_t left = longest.answer - first; left > 0; left -= longest.context)
    further += std::min(left, longest.context) - 1;
  micro_batch_size size;
  for (std::int64_t g = 0; g < longest.groups; ++g)
    for (std::int64_t a = 0; a < longest.answers; ++a) {
      const std::int64_t more = rows + (a == 0 ? longest.prompt : 0) + further;
      if (size.tokens > 0 && size.tokens + more > budget)
        return size;
      size.tokens += more;
      size.rows += longest.answer;
    }
  return size;
}

std::int64_t activation_bytes(const model::model_config& c, const micro_batch_size& batch, const pass_options& how) {
  const bool kept = how.kept == model::activations::kept;
  const std::int64_t number = bytes_a_number(how.computes);
  const std::int64_t block = batch.tokens * kept_by_block(c, how);
  const std::int64_t blocks = kept ? c.layers * block : c.layers * batch.tokens * c.hidden_size * float_bytes;
  // The last block's output and its norm; the rows that the head reads.
  const std::int64_t around =
      batch.tokens * (c.hidden_size * (float_bytes + number) + float_bytes) + batch.rows * c.hidden_size * number;
  const std::int64_t of_backward =
      batch.tokens * (2 * c.ffn_size + c.hidden_size / 2) * float_bytes + (kept ? 0 : block);
  return blocks + around + std::max(bytes_of_head(c, batch.rows), of_backward);
}

} // namespace millrace::train
