#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace millrace {

/// What a policy reads of an episode's earlier turns.
enum class episode_history : std::uint8_t {
  as_template, ///< what the model's chat template writes of them: one that leaves thoughts out begins a segment
  as_sampled,  ///< what was sampled
};

constexpr auto words_for(episode_history) {
  return std::to_array<std::string_view>({"template", "sampled"});
}

} // namespace millrace
