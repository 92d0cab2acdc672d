#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace millrace {

/// The tokens of a turn.
struct sampled_turn {
  std::vector<std::int32_t> behind = {}; ///< that it was sampled behind: a prompt, and the turns before
  std::vector<std::int32_t> tokens = {};
  std::vector<float> logprobs = {};    ///< of each, at the temperature it was drawn at
  std::vector<std::string> texts = {}; ///< of each, its bytes

  bool operator==(const sampled_turn&) const = default;
};

} // namespace millrace
