#pragma once

#include "runtime/messages/add_columns.hpp"
#include "runtime/rules/rule_set.hpp"

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>

namespace millrace::rules {

/// Gathers what rules say beside their scores as figures `rule/NAME/KEY`. Keys come out of people's own code, so their
/// number is bounded: the first `most_keys` of each rule count, and others are left out for as long as this object
/// lives. Thread-safe.
class rule_details {
public:
  static constexpr std::size_t most_keys = 32, longest_key = 64;

  /// Adds the sums over the first `answers` of a group to `summary`.
  /// @returns a line where a rule gives too many keys, once a rule; else ""
  std::string add(const rule_set& rules, std::span<const rule_set_score> scores, std::size_t answers,
                  std::map<std::string, summed>& summary);

  /// A key as a part of a figure's name: letters, digits and some signs; anything else is '_'.
  static std::string name_of(std::string_view key);

private:
  bool counts(const std::string& rule, const std::string& key);

  std::mutex lock_;
  std::map<std::string, std::set<std::string>> keys_; ///< by rule
  std::set<std::string> told_;                        ///< rules that gave more
};

} // namespace millrace::rules
