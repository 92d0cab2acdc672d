#include "runtime/train/answer_scores.hpp"

#include "algorithms/preference_pairs.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/model/training_operations.hpp"

#include <ATen/ATen.h>

namespace millrace::train {

scored_answers answer_scores(const model::decoder& decoder, std::span<const training_group> groups,
                             const micro_batch& batch, model::activations kept, model::block_weights* blocks,
                             const model::arithmetic& how) {
  // The last token of an answer predicts nothing and would not be fed: a token behind it makes it so, and is not fed
  // itself.
  std::vector<std::vector<std::int32_t>> longer;
  std::vector<std::span<const std::int32_t>> prompts; // of each answer
  std::vector<std::int64_t> last;
  std::int64_t tokens = 0;
  for (const group_part& part : batch.parts)
    for (std::size_t i = 0; i < part.answers; ++i) {
      const auto& group = groups[part.group];
      const auto answer = part.first_answer + i;
      const auto end = model::ending_of(group.prompt, group.answers[answer], model::begins_of(group.segments, answer));
      const auto scored = model::scored_part_of(end.prompt, end.answer, decoder.config().pad_id);
      prompts.push_back(scored.prompt);
      longer.emplace_back(scored.answer.begin(), scored.answer.end()).push_back(0);
      tokens += static_cast<std::int64_t>(longer.back().size());
      last.push_back(tokens - 1);
    }
  std::vector<model::prompt_and_answers> views;
  for (std::size_t i = 0; i < longer.size(); ++i) {
    const bool goes_on =
        i > 0 && prompts[i].data() == prompts[i - 1].data() && prompts[i].size() == prompts[i - 1].size();
    if (!goes_on)
      views.push_back({prompts[i], {}});
    views.back().answers.emplace_back(longer[i]);
  }
  const model::packed_sequences packed = model::pack(views);
  const at::Device device = decoder.device();
  model::training_operations ops(packed.groups, kept, blocks, how);
  const at::Tensor hidden = decoder.hidden(ops, packed.tokens.to(device), packed.positions.to(device));
  const at::Tensor rows = packed.rows.index_select(0, at::tensor(last, at::kLong)).to(device);
  return {.score = model::token_scores(hidden, decoder.head(), rows, how), .fed = packed.tokens};
}

ranked_pairs rank_pairs(const at::Tensor& score, const at::Tensor& reward, const at::Tensor& group) {
  const auto pairs = algorithms::pairs_of(reward, group);
  const at::Tensor lead = score.detach().index_select(0, pairs.chosen) - score.detach().index_select(0, pairs.rejected);
  return {lead.gt(0).sum().item<std::int64_t>(), lead.numel()};
}

} // namespace millrace::train
