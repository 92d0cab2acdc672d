#include "runtime/replay/made_answers.hpp"

#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace millrace::replay {

rollout::partial_group all_but(const rollout::group_request& request, const std::vector<std::uint32_t>& wanted) {
  rollout::answer ended;
  ended.tokens = {0};
  ended.logprob = {0};
  ended.version = {0};
  const auto count = static_cast<std::size_t>(request.answers);
  rollout::partial_group others{request.group, std::vector<rollout::answer>(count, ended),
                                std::vector<std::uint8_t>(count, 1)};
  for (const auto index : wanted) {
    others.answers.at(index) = {};
    others.ended.at(index) = 0;
  }
  return others;
}

rollout::answer played_with(rollout::engine engine, const rollout::group_request& request, std::uint32_t answer,
                            const flips& runs, const train::played_answer& played, const policies& policy_of) {
  engine.admit(request, all_but(request, {answer}));
  std::size_t run = 0;
  std::int64_t at = 0, begins = runs.empty() ? 0 : runs.front().tokens; // the next token; the first of the next run
  const auto flip = [&] {
    for (; run + 1 < runs.size() && begins <= at; begins += runs[run].tokens) {
      ++run;
      engine.hand_over_weights(policy_of(runs[run].version), runs[run].version,
                               runs[run].recomputed ? kv_on_flip::recompute : kv_on_flip::keep);
    }
  };
  while (!engine.idle()) {
    flip();
    auto done = engine.step();
    at += engine.last_step().sampled_tokens;
    for (const auto& turn : engine.last_turns()) {
      const auto k = static_cast<std::size_t>(turn.turn);
      const bool last = k + 1 == played.said.size();
      flip();
      engine.go_on(turn.group, turn.answer,
                   {.tokens = played.said.at(k),
                    .reward = played.rewards.at(k),
                    .done = last,
                    .new_segment = std::ranges::count(played.segments, turn.turn) > 0});
      at += std::ssize(played.said[k]);
      if (run + 1 < runs.size() && begins < at && !last)
        throw input_error("group " + std::to_string(request.group)
                          + ": new weights came while a reply of its environment was read");
    }
    if (!done.empty()) {
      auto made = std::move(done.front().answers.at(static_cast<std::size_t>(answer)));
      made.finish = static_cast<rollout::finish_reason>(played.finish);
      return made;
    }
  }
  throw std::logic_error("the engine lost group " + std::to_string(request.group));
}

std::vector<rollout::answer> made_with(rollout::engine engine, const rollout::group_request& request,
                                       std::optional<rollout::partial_group> others, const flips& runs,
                                       const policies& policy_of) {
  engine.admit(request, std::move(others));
  std::size_t run = 0;
  std::uint32_t left = runs.empty() ? 0 : runs.front().tokens;
  while (!engine.idle()) {
    if (left == 0 && run + 1 < runs.size()) {
      ++run;
      left = runs[run].tokens;
      engine.hand_over_weights(policy_of(runs[run].version), runs[run].version,
                               runs[run].recomputed ? kv_on_flip::recompute : kv_on_flip::keep);
    }
    auto done = engine.step();
    if (engine.last_step().sampled_tokens > 0 && left > 0)
      --left;
    if (!done.empty())
      return std::move(done.front().answers);
  }
  throw std::logic_error("the engine lost group " + std::to_string(request.group));
}

} // namespace millrace::replay
