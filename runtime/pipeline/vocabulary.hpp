#pragma once

#include "runtime/pipeline/limits.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace millrace::pipeline {

/// An algorithm that `[roles.*] algorithm = "name"` may name.
struct algorithm_type {
  std::string name;
  std::vector<std::string> reads = {"reward"}; ///< columns it needs beside the rollout's own
  std::int64_t least_answers = 2;              ///< smallest `answers_per_prompt` it is defined for
};

/// The value of a rule's option.
using option_value = std::variant<bool, std::int64_t, double, std::string>;
/// Every option of a rule, by name.
using option_values = std::map<std::string, option_value>;

/// An option of a rule: `{ type = "number", extract = "boxed" }`.
struct rule_option {
  std::string name;
  option_value fallback; ///< the default; also says the type
  limits allowed;
  std::string meaning; ///< with the unit
};

/// A rule that `rules = [{ type = "name" }]` may name.
struct rule_type {
  std::string name;
  std::vector<rule_option> options;
  /// What is wrong with a rule's options taken together (a pattern that is no regular expression), or "". Empty: nothing to check.
  std::function<std::string(const option_values&)> check;
};

/// The words that a pipeline file may use and that are defined elsewhere: by algorithms/, runtime/rules/ and runtime/train/.
struct vocabulary {
  std::vector<algorithm_type> algorithms;
  std::vector<rule_type> rules;
  std::vector<std::string> optimizers;
};

/// The words of this program.
const vocabulary& built_in_vocabulary();

/// The names of a list of things that have one.
template <class Things> std::vector<std::string> names_of(const Things& things) {
  std::vector<std::string> names;
  for (const auto& thing : things)
    names.push_back(thing.name);
  return names;
}

} // namespace millrace::pipeline
