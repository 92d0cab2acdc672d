#pragma once

#include "runtime/schedule/version_counts.hpp"
#include "runtime/words/ids.hpp"
#include "runtime/words/mix_bits.hpp"

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>

namespace millrace::schedule {

inline void require(bool holds, const std::string& sentence) {
  if (!holds)
    throw std::runtime_error(sentence);
}

inline std::int64_t sum(const std::map<version_id, std::int64_t>& tokens) {
  std::int64_t all = 0;
  for (const auto& [version, count] : tokens)
    all += count;
  return all;
}

/// Half of the prompts' answers take long, every 23rd prompt cannot be answered.
inline bool slow(group_id id) {
  return splitmix64(id) % 5 == 0;
}

inline bool poison(group_id id) {
  return splitmix64(id + 7) % 23 == 0;
}

/// Tokens of whole answers by their oldest version: two thirds have a token of the oldest, the others only of the
/// newest.
inline version_counts by_answer(const std::map<version_id, std::int64_t>& tokens) {
  if (tokens.empty())
    return {};
  const auto all = sum(tokens);
  if (tokens.size() == 1)
    return {{tokens.begin()->first, all}};
  return {{tokens.begin()->first, all - all / 3}, {tokens.rbegin()->first, all / 3}};
}

} // namespace millrace::schedule
