#include "runtime/train/answer_scores.hpp"

#include "algorithms/preference_pairs.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/model/training_operations.hpp"

#include <ATen/ATen.h>

namespace millrace::train {

at::Tensor answer_scores(const model::decoder& decoder, std::span<const training_group> groups,
                         const micro_batch& batch) {
  // The last token of an answer predicts nothing and would not be fed: a token behind it makes it so, and is not fed
  // itself.
  std::vector<std::vector<std::int32_t>> longer;
  std::vector<model::prompt_and_answers> views;
  std::vector<std::int64_t> last;
  std::int64_t tokens = 0;
  for (const group_part& part : batch.parts)
    for (std::size_t i = 0; i < part.answers; ++i) {
      longer.push_back(groups[part.group].answers[part.first_answer + i]);
      longer.back().push_back(0);
      tokens += static_cast<std::int64_t>(longer.back().size());
      last.push_back(tokens - 1);
    }
  std::size_t next = 0;
  for (const group_part& part : batch.parts) {
    model::prompt_and_answers view{groups[part.group].prompt, {}};
    for (std::size_t i = 0; i < part.answers; ++i)
      view.answers.emplace_back(longer[next++]);
    views.push_back(std::move(view));
  }
  const model::packed_sequences packed = model::pack(views);
  const at::Device device = decoder.head().weight.device();
  model::training_operations ops(packed.groups);
  const at::Tensor hidden = decoder.hidden(ops, packed.tokens.to(device), packed.positions.to(device));
  const at::Tensor rows = packed.rows.index_select(0, at::tensor(last, at::kLong)).to(device);
  return model::token_scores(hidden, decoder.head(), rows);
}

ranked_pairs rank_pairs(const at::Tensor& score, const at::Tensor& reward, const at::Tensor& group) {
  const auto pairs = algorithms::pairs_of(reward, group);
  const at::Tensor lead = score.detach().index_select(0, pairs.chosen) - score.detach().index_select(0, pairs.rejected);
  return {lead.gt(0).sum().item<std::int64_t>(), lead.numel()};
}

} // namespace millrace::train
