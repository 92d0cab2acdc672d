#include "runtime/schedule/prediction.hpp"

namespace millrace::schedule {

double prediction::length_ratio() const {
  if (books.trained.groups == 0 || generated_tokens == 0)
    return 1;
  const auto trained_length = static_cast<double>(books.trained.tokens) / static_cast<double>(books.trained.groups);
  return trained_length * static_cast<double>(generated_groups) / static_cast<double>(generated_tokens);
}

pace pace_of(const std::vector<trained_step>& steps) {
  if (steps.size() < 2)
    return {};
  const auto seconds = steps.back().end_s - steps.front().end_s;
  std::int64_t tokens = 0;
  for (std::size_t i = 1; i < steps.size(); ++i)
    tokens += steps[i].tokens;
  return {seconds / static_cast<double>(steps.size() - 1), seconds > 0 ? static_cast<double>(tokens) / seconds : 0};
}

void prediction::share_out(std::uint32_t workers) {
  if (seconds <= 0)
    return;
  for (auto* share : {&learner.compute, &learner.transfer, &learner.wait_input, &learner.wait_bound, &learner.wait_turn,
                      &learner.saving})
    *share /= seconds;
  for (auto* share : {&rollout.compute, &rollout.wait_credit, &rollout.wait_weights, &rollout.paused, &rollout.dead})
    *share /= seconds * workers;
}

} // namespace millrace::schedule
