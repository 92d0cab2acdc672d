#include "runtime/train/step_memory.hpp"

#include "runtime/model/token_logprob.hpp"
#include "runtime/words/precision.hpp"

#include <algorithm>

namespace millrace::train {
namespace {

/// Numbers that a block keeps of each token for the backward pass, but for its mask.
std::int64_t kept_by_block(const model::model_config& c, std::int64_t adapter_rank) {
  const std::int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  std::int64_t kept = 4 * c.hidden_size + 2 // both norms: input, output, 1 / rms
                      + q + 2 * kv          // queries, keys, values, turned
                      + 2 * c.head_dim      // the angles of queries and of keys
                      + 2 * q + c.heads     // attention's output, as it is and in the order of tokens; its log sums
                      + 3 * c.ffn_size;     // gate, up, their product
  if (c.family->norms_heads)
    kept += q + kv + c.heads + c.kv_heads;
  return kept + 7 * adapter_rank;
}

/// The head's logits exist a block at a time: twice, and with the gradient of the block's words.
std::int64_t numbers_of_head(const model::model_config& c, std::int64_t rows) {
  if (c.score_head || rows == 0)
    return 0;
  const std::int64_t words = model::words_at_once(rows, c.vocab_size);
  return 2 * words * rows + words * c.hidden_size;
}

} // namespace

micro_batch_size largest_micro_batch(const longest_groups& longest, std::int64_t budget) {
  const std::int64_t first = std::min(longest.answer, longest.context - longest.prompt);
  const std::int64_t rows = std::max<std::int64_t>(first - 1, 0);
  micro_batch_size further; // of an answer's further segments: all but the last token of each is fed
  for (std::int64_t left = longest.answer - first; left > 0; left -= longest.context) {
    const std::int64_t fed = std::min(left, longest.context) - 1;
    further.tokens += fed;
    further.squares += fed * fed;
  }
  micro_batch_size size;
  std::int64_t group = 0; // tokens of the group that is being added
  const auto close = [&] { size.squares += group * group; };
  for (std::int64_t g = 0; g < longest.groups; ++g) {
    group = 0;
    for (std::int64_t a = 0; a < longest.answers; ++a) {
      const std::int64_t more = rows + (group == 0 ? longest.prompt : 0);
      if (size.tokens > 0 && size.tokens + more + further.tokens > budget) {
        close();
        return size;
      }
      group += more;
      size.tokens += more + further.tokens;
      size.squares += further.squares;
      size.rows += longest.answer;
    }
    close();
  }
  return size;
}

std::int64_t activation_bytes(const model::model_config& c, const micro_batch_size& batch, model::activations kept,
                              std::int64_t adapter_rank) {
  const std::int64_t block = batch.tokens * kept_by_block(c, adapter_rank) + batch.squares;
  const std::int64_t blocks =
      kept == model::activations::kept ? c.layers * block : c.layers * batch.tokens * c.hidden_size;
  // The masks as they are made, in bytes; the last block's output and its norm; the rows that the head reads.
  const std::int64_t around = batch.tokens * (2 * c.hidden_size + 1) + batch.rows * c.hidden_size;
  const std::int64_t of_backward =
      batch.tokens * (2 * c.ffn_size + c.hidden_size / 2) + (kept == model::activations::kept ? 0 : block);
  const std::int64_t at_once = std::max(numbers_of_head(c, batch.rows), of_backward);
  return (blocks + around + at_once) * bytes_a_number(precision::float32) + batch.squares;
}

} // namespace millrace::train
