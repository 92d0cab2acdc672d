#include "runtime/model/score_head.hpp"
#include "runtime/train/learner.hpp"
#include "runtime/train/value_learner.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/runtime/train/sampled_group.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

namespace ppo_learning_test {

using namespace millrace;

namespace {

constexpr int steps = 30;

/// Each group with what the critic says of it now.
void add_values(std::span<train::training_group> groups, const train::value_learner& critic) {
  for (auto& group : groups) {
    const auto values = critic.values(group.prompt, group.answers);
    std::size_t at = 0;
    for (const auto& answer : group.answers) {
      group.value.emplace_back(values.begin() + static_cast<std::ptrdiff_t>(at),
                               values.begin() + static_cast<std::ptrdiff_t>(at + answer.size()));
      at += answer.size();
    }
  }
}

} // namespace

TEST_CASE("a random decoder learns to say one word by PPO, and its critic to foresee it, from every seed") {
  const auto config = tests::tiny_config("llama", 20);
  for (const std::uint64_t seed : {1, 2, 3, 4, 5}) {
    CAPTURE(seed);
    train::learner_options options;
    options.algorithm = "ppo";
    options.algorithm_options = {{"lambda", 1}};
    options.device = "cpu";
    options.threads = 1;
    options.optimizer.lr = 1e-2;
    train::learner learner(config, tests::random_weights(config, seed, at::kFloat, false), options);
    model::checkpoint scorer;
    scorer.config = config;
    scorer.parameters = tests::random_weights(config, seed + 100, at::kFloat, false);
    scorer = model::with_score_head(std::move(scorer));
    train::value_learner_options of_critic;
    of_critic.algorithm_options = options.algorithm_options;
    of_critic.device = "cpu";
    of_critic.threads = 1;
    of_critic.optimizer.lr = 1e-2;
    train::value_learner critic(scorer.config, scorer.parameters, of_critic);

    const model::decoder decoder(config, learner.parameters());
    std::mt19937_64 random(seed);
    double first = 0, last = 0, foreseen = 0;
    for (std::uint32_t step = 0; step < steps; ++step) {
      train::training_group groups[] = {tests::sample_group(decoder, 2, random, step),
                                        tests::sample_group(decoder, 3, random, step)};
      add_values(groups, critic);
      foreseen = critic.gradient(groups, step).value_mean;
      const auto report = learner.step(groups, step);
      critic.apply();
      (step < 3 ? first : last) += step < 3 ? report.reward_mean / 3 : step >= steps - 3 ? report.reward_mean / 3 : 0;
    }
    MESSAGE("seed " << seed << ": mean reward " << first << " -> " << last << ", foreseen at the last step "
                    << foreseen);
    CHECK(first < 0.4);
    CHECK(last > 0.8);
    CHECK(std::abs(foreseen - last) < 0.3); // its first values were 0
  }
}

} // namespace ppo_learning_test
