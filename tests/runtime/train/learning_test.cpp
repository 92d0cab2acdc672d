#include "algorithms/algorithm.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/train/learner.hpp"
#include "tests/runtime/model/random_decoder.hpp"

#include <ATen/ATen.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace {

using namespace millrace;

constexpr std::int32_t wanted = 7;
constexpr int answers = 16, length = 4, steps = 30;

/// Samples answers from the training forward itself, whole sequences again for each token.
train::training_group sample_group(const model::decoder& decoder, std::int32_t prompt, std::mt19937_64& random, std::uint32_t version) {
  const at::NoGradGuard no_grad;
  train::training_group group;
  group.prompt = {1, prompt};
  group.answers.resize(answers);
  group.behaviour_logprob.resize(answers);
  group.version.assign(answers, std::vector<std::uint32_t>(length, version));
  std::uniform_real_distribution<double> uniform;
  for (int t = 0; t < length; ++t) {
    std::vector<model::packed_group> layout(answers, {2 + t, {}});
    std::vector<std::int64_t> tokens, positions;
    for (const auto& answer : group.answers) {
      tokens.insert(tokens.end(), {1, prompt});
      tokens.insert(tokens.end(), answer.begin(), answer.end());
      for (int i = 0; i < 2 + t; ++i)
        positions.push_back(i);
    }
    model::training_operations ops(layout);
    const auto hidden = decoder.hidden(ops, at::tensor(tokens, at::kLong), at::tensor(positions, at::kLong));
    const auto last = hidden.view({answers, 2 + t, -1}).select(1, 1 + t);
    const auto logprob = last.matmul(decoder.head().weight.t()).log_softmax(-1).contiguous();
    const std::int64_t vocab = logprob.size(1);
    for (int a = 0; a < answers; ++a) {
      const float* row = logprob.data_ptr<float>() + a * vocab;
      double left = uniform(random);
      std::int32_t token = 0;
      while (token + 1 < vocab && (left -= std::exp(row[token])) > 0)
        ++token;
      group.answers[static_cast<std::size_t>(a)].push_back(token);
      group.behaviour_logprob[static_cast<std::size_t>(a)].push_back(row[token]);
    }
  }
  for (const auto& answer : group.answers)
    group.reward.push_back(static_cast<float>(std::count(answer.begin(), answer.end(), wanted)) / length);
  return group;
}

} // namespace

TEST_CASE("a random decoder learns to say one word, by every algorithm and from every seed") {
  // A word in twenty by chance; a random decoder's taste and the first updates lift the first three steps somewhat.
  const auto config = tests::tiny_config(model::family::llama, 20);
  for (const auto* row : algorithms::all())
    for (const std::uint64_t seed : {1, 2, 3}) {
      CAPTURE(std::string(row->name));
      CAPTURE(seed);
      train::learner_options options;
      options.algorithm = row->name;
      options.device = "cpu";
      options.threads = 1; // products this small only wait for a second thread
      options.optimizer.lr = 1e-2;
      train::learner learner(config, tests::random_weights(config, seed, at::kFloat, false), options);
      const model::decoder decoder(config, learner.parameters());
      std::mt19937_64 random(seed);
      double first = 0, last = 0, mismatch = 0;
      for (std::uint32_t step = 0; step < steps; ++step) {
        const train::training_group groups[] = {sample_group(decoder, 2, random, step), sample_group(decoder, 3, random, step)};
        const auto report = learner.step(groups, step);
        (step < 3 ? first : last) += step < 3 ? report.reward_mean / 3 : step >= steps - 3 ? report.reward_mean / 3 : 0;
        mismatch = std::max(mismatch, report.logprob_mismatch);
      }
      MESSAGE(row->name << " seed " << seed << ": mean reward " << first << " -> " << last);
      CHECK(first < 0.4);
      CHECK(last > 0.8);
      CHECK(mismatch < 1e-4);
    }
}
