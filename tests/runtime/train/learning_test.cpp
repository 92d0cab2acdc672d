#include "algorithms/algorithm.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/train/learner.hpp"
#include "runtime/words/enum_words.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/runtime/train/sampled_group.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

namespace learning_test {

namespace {

using namespace millrace;

constexpr int steps = 30;

/// Whether rewards are all that the row needs.
bool by_rewards_alone(const algorithms::algorithm& row) {
  return row.on == algorithms::head::language_model && !row.columns.empty()
         && std::all_of(row.columns.begin(), row.columns.end(), [](auto column) { return column == "reward"; });
}

double mean_of(const std::vector<float>& rewards) {
  return std::accumulate(rewards.begin(), rewards.end(), 0.0) / static_cast<double>(rewards.size());
}

/// Rewards of 1 and 0, which DRPO is defined for: 1 for what is better than the group's mean.
void judge(std::vector<float>& rewards) {
  const double mean = mean_of(rewards);
  for (float& reward : rewards)
    reward = reward > mean ? 1 : 0;
}

double mean_of_three(std::vector<double>::const_iterator at) {
  return (at[0] + at[1] + at[2]) / 3;
}

bool has_learnt(const std::vector<double>& rewards) {
  return rewards.size() >= 6 && mean_of_three(rewards.end() - 3) > 0.8;
}

} // namespace

TEST_CASE("a random decoder learns to say one word, by every algorithm of rewards alone and from every seed") {
  // A word in twenty by chance; a random decoder's taste and the first updates lift the first three steps somewhat.
  const auto config = tests::tiny_config("llama", 20);
  std::vector<std::pair<const algorithms::algorithm*, precision>> learners{
      {algorithms::find("grpo"), precision::bfloat16}};
  for (const auto* row : algorithms::all())
    learners.emplace_back(row, precision::float32);
  for (const auto& [row, computes] : learners)
    for (const std::uint64_t seed : {1, 2, 3}) {
      if (!by_rewards_alone(*row))
        continue;
      CAPTURE(std::string(row->name));
      CAPTURE(word(computes));
      CAPTURE(seed);
      train::learner_options options;
      options.algorithm = row->name;
      options.computes = computes;
      options.device = "cpu";
      options.threads = 1; // products this small only wait for a second thread
      options.optimizer.lr = 1e-2;
      train::learner learner(config, tests::random_weights(config, seed, at::kFloat, false), options);
      const model::decoder decoder(config, learner.parameters());
      std::mt19937_64 random(seed);
      std::vector<double> rewards; // of each step
      double mismatch = 0;
      for (std::uint32_t step = 0; step < steps && !has_learnt(rewards); ++step) {
        train::training_group groups[] = {tests::sample_group(decoder, 2, random, step),
                                          tests::sample_group(decoder, 3, random, step)};
        const double reward = (mean_of(groups[0].reward) + mean_of(groups[1].reward)) / 2;
        if (row->name == "drpo")
          for (auto& group : groups)
            judge(group.reward);
        const auto report = learner.step(groups, step);
        rewards.push_back(reward);
        mismatch = std::max(mismatch, report.logprob_mismatch);
      }
      MESSAGE(row->name << " seed " << seed << ": mean reward " << mean_of_three(rewards.begin()) << " -> "
                        << mean_of_three(rewards.end() - 3) << " in " << rewards.size() << " steps");
      CHECK(mean_of_three(rewards.begin()) < 0.4);
      CHECK(has_learnt(rewards));
      CHECK(mismatch < (computes == precision::float32 ? 1e-4 : 0.1)); // samples are fp32's
    }
}

} // namespace learning_test
