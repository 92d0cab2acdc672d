#pragma once

#include "runtime/train/learner.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/support/setting.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace millrace::tests::policies {

/// A tiny policy that is trained on made-up groups, in one way and in another, to compare the bits.

inline const model::model_config config = tests::tiny_config("llama");

/// Made once: LibTorch's random numbers are those of the process.
inline const model::weights& start() {
  static const auto made = tests::random_weights(config, 3, at::kFloat, false);
  return made;
}

/// Five groups of four answers of 1 to 9 tokens, stamped with made-up log-probabilities and values.
inline std::vector<train::training_group> some_groups(std::uint64_t seed, std::uint32_t version) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t n) { return random() % n; };
  std::vector<train::training_group> groups(5);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    auto& group = groups[g];
    group.id = g;
    for (std::uint64_t i = 0, n = 2 + below(5); i < n; ++i)
      group.prompt.push_back(static_cast<std::int32_t>(below(40)));
    for (int a = 0; a < 4; ++a) {
      const auto length = 1 + below(9);
      auto& answer = group.answers.emplace_back();
      for (std::uint64_t i = 0; i < length; ++i) {
        answer.push_back(static_cast<std::int32_t>(below(40)));
      }
      const auto numbers = [&](float mean) {
        std::vector<float> made;
        for (std::uint64_t i = 0; i < length; ++i)
          made.push_back(mean + static_cast<float>(below(1000)) / 1000);
        return made;
      };
      group.behaviour_logprob.push_back(numbers(-4));
      group.ref_logprob.push_back(numbers(-4));
      group.value.push_back(numbers(0));
      group.version.emplace_back(length, version);
      group.reward.push_back(static_cast<float>(below(3)));
    }
  }
  return groups;
}

struct trained {
  std::vector<double> figures; ///< of each step: loss, gradient norm, KL, entropy
  model::weights parameters;
  int groups_of_ranks = 0;
};

/// 30 took the first proof of these bits.
inline const auto steps = static_cast<std::uint32_t>(tests::setting("MILLRACE_RANK_STEPS", 10));

inline void take_in(trained& out, const train::step_report& report) {
  REQUIRE(report.result == train::step_report::outcome::applied);
  for (const double figure : {report.loss, report.gradient_norm, report.seen.kl_k3(), report.seen.mean_entropy(),
                              report.logprob_mismatch, static_cast<double>(report.micro_batches)})
    out.figures.push_back(figure);
}

/// @param algorithm by its name, or "NAME in bfloat16"
inline train::learner_options options_of(const std::string& algorithm) {
  train::learner_options options;
  options.algorithm = algorithm.substr(0, algorithm.find(' '));
  options.computes = algorithm.ends_with(" in bfloat16") ? precision::bfloat16 : precision::float32;
  options.device = "cpu";
  options.threads = 1;
  options.optimizer.lr = 1e-3;
  options.micro_batch_tokens = 24; // some ten micro-batches a step
  return options;
}

inline void check_same(const trained& one, const trained& other) {
  CHECK(one.figures == other.figures);
  CHECK(equal_bits(one.parameters, other.parameters));
}

} // namespace millrace::tests::policies
