#include "runtime/train/micro_batches.hpp"

#include <algorithm>

namespace millrace::train {

std::vector<micro_batch> cut_micro_batches(std::span<const training_group> groups, std::int64_t budget) {
  std::vector<micro_batch> out;
  micro_batch open;
  const auto close = [&] {
    const std::int64_t next_token = open.first_token + open.tokens, next_answer = open.first_answer + open.answers;
    if (!open.parts.empty())
      out.push_back(std::move(open));
    open = {};
    open.first_token = next_token;
    open.first_answer = next_answer;
  };
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto prompt = static_cast<std::int64_t>(groups[g].prompt.size());
    bool fed = false; // the prompt, in the open micro-batch
    for (std::size_t i = 0; i < groups[g].answers.size(); ++i) {
      const auto tokens = static_cast<std::int64_t>(groups[g].answers[i].size());
      const std::int64_t rows = std::max<std::int64_t>(tokens - 1, 0);
      if (!open.parts.empty() && open.fed_tokens + rows + (fed ? 0 : prompt) > budget) {
        close();
        fed = false;
      }
      if (!fed) {
        open.parts.push_back({g, i, 0});
        open.fed_tokens += prompt;
        fed = true;
      }
      open.fed_tokens += rows;
      open.tokens += tokens;
      ++open.parts.back().answers;
      ++open.answers;
    }
  }
  close();
  return out;
}

model::packed_sequences pack_part(std::span<const training_group> groups, const micro_batch& batch) {
  std::vector<model::prompt_and_answers> views;
  for (const auto& part : batch.parts) {
    const training_group& group = groups[part.group];
    const auto first = group.answers.begin() + static_cast<std::ptrdiff_t>(part.first_answer);
    views.push_back({group.prompt, {first, first + static_cast<std::ptrdiff_t>(part.answers)}});
  }
  return model::pack(views);
}

} // namespace millrace::train
