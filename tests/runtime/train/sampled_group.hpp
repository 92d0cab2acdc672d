#pragma once

#include "runtime/model/decoder.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/train/training_group.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace millrace::tests {

inline constexpr std::int32_t wanted = 7; ///< the word that is rewarded, by its share of an answer
inline constexpr int answers = 16, length = 4;

/// Samples answers from the training forward itself, whole sequences again for each token.
inline train::training_group sample_group(const model::decoder& decoder, std::int32_t prompt, std::mt19937_64& random,
                                          std::uint32_t version) {
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

} // namespace millrace::tests
