#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace millrace {

/// The first tokens of an answer, for people who look at it. All vectors have one entry a token.
struct shown_answer {
  std::vector<std::string> text;      ///< UTF-8; "" where the next tokens complete a character
  std::vector<float> logprob;         ///< as sampled, nats
  std::vector<float> policy_logprob;  ///< of the policy when the step that trained the token began; NaN: not computed
  std::vector<std::uint32_t> version; ///< of the weights that sampled the token

  bool operator==(const shown_answer&) const = default;
};

/// A group of a batch whose tokens are shown.
struct shown_group {
  static constexpr std::size_t most_groups = 2;    ///< of a batch
  static constexpr std::size_t most_tokens = 2048; ///< of a group, all answers together

  std::uint64_t group = 0;
  std::vector<shown_answer> answers; ///< the group's first ones, in order; one that is not trained has no tokens

  bool operator==(const shown_group&) const = default;
};

} // namespace millrace
