#include "tools/measured_training.hpp"

#include "runtime/telemetry/trace.hpp"
#include "runtime/train/training_group.hpp"
#include "runtime/words/cores.hpp"
#include "tools/median.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <utility>
#include <variant>

namespace millrace::tools {
namespace {

using telemetry::now_s;

constexpr double uneven = 1.5; // the slowest of a training's repeats against the fastest

/// @param by_turn turns have advantages of their own
train::training_group to_train(const rollout::finished_group& group, const std::vector<std::int32_t>& prompt,
                               std::uint64_t id, bool by_turn) {
  train::training_group made;
  made.id = id;
  made.prompt = prompt;
  for (const auto& answer : group.answers) {
    made.answers.push_back(answer.tokens);
    made.segments.push_back(rollout::segment_begins(answer));
    made.behaviour_logprob.push_back(answer.logprob);
    made.version.emplace_back(answer.tokens.size(), 0u);
    made.ref_logprob.push_back(answer.logprob);
    // Rewards that differ: there is something to learn.
    made.reward.push_back(static_cast<float>(made.reward.size() % 2));
    if (answer.turns.empty())
      continue;
    auto& mask = made.mask.emplace_back(answer.tokens.size(), std::uint8_t{0});
    std::vector<train::written_turn> written;
    for (const auto& turn : answer.turns) {
      std::fill(mask.begin() + turn.begin, mask.begin() + turn.end, std::uint8_t{1});
      written.push_back({.tokens = turn.end - turn.begin, .reward = 0});
    }
    if (by_turn)
      made.turns.push_back(std::move(written));
  }
  return made;
}

std::string uneven_times(std::size_t groups, double least_s, double most_s) {
  char text[200];
  std::snprintf(text, sizeof text,
                "training of %s took %.3g to %.3g s, and the median counts: the machine did other work meanwhile",
                groups == 1 ? "one group" : (std::to_string(groups) + " groups").c_str(), least_s, most_s);
  return text;
}

} // namespace

measured_training::measured_training(const pipeline::pipeline& p, const answered_groups& groups)
    : p_(p), groups_(groups),
      learning_(p, std::filesystem::path{}, static_cast<int>(pipeline::threads_of(p, p.policy().name, cores_here()))) {
}

trained_tokens measured_training::train(std::size_t groups) {
  const bool critic = !p_.of<pipeline::critic_table>().empty();
  const bool by_turn = std::get<pipeline::policy_table>(p_.policy().options).credit == "turn";
  std::vector<std::uint64_t> ids;
  std::int64_t tokens = 0, prompt_tokens = 0;
  for (std::size_t i = 0; i < groups; ++i) {
    const auto& group = groups_.groups[i % groups_.groups.size()];
    auto made = to_train(group, groups_.prompts.at(group.group), 1000 * steps_ + i, by_turn);
    if (critic)
      for (const auto& one : made.answers)
        made.value.emplace_back(one.size(), 0.0f);
    ids.push_back(made.id);
    for (std::size_t a = 0; a < made.answers.size(); ++a)
      tokens += train::trained_tokens(made, a);
    prompt_tokens += static_cast<std::int64_t>(made.prompt.size());
    learning_.keep(std::move(made));
  }
  const double start = now_s();
  learning_.train({steps_ + 1, steps_, ids}, {});
  ++steps_;
  return {now_s() - start, static_cast<double>(tokens), static_cast<double>(prompt_tokens)};
}

trained_tokens measured_training::train_often(std::size_t groups, double for_s) {
  std::vector<double> seconds;
  const double begin = now_s();
  trained_tokens done;
  do {
    done = train(groups);
    seconds.push_back(done.seconds);
  } while (std::ssize(seconds) < most_repeats && now_s() - begin + done.seconds < for_s);
  const auto [least, most] = std::minmax_element(seconds.begin(), seconds.end());
  if (*most > uneven * *least)
    notes_.push_back(uneven_times(groups, *least, *most));
  done.seconds = median(std::move(seconds));
  return done;
}

} // namespace millrace::tools
