#pragma once

#include "runtime/pipeline/limits.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace millrace::pipeline {

/// The value of an option.
using option_value = std::variant<bool, std::int64_t, double, std::string>;
/// The options of one rule or algorithm, by name. An optional one that is not set is not in it.
using option_values = std::map<std::string, option_value>;

/// A key that belongs to one rule or one algorithm.
struct option {
  std::string name;
  option_value fallback;   ///< its alternative says the type; its value is the default, unless `optional`
  limits allowed;          ///< `needed`: must be written
  std::string meaning;     ///< with the unit
  bool optional = false;   ///< may be left out and then is not set at all
};

/// An algorithm that `algorithm = "name"` of a policy may name.
struct algorithm_type {
  std::string name;
  std::vector<std::string> reads; ///< columns it needs beside the rollout's own
  std::vector<option> options;    ///< numbers and words: the keys of `algorithm_options`
  std::string aggregation = {};   ///< where `loss` names none
  bool corrects = false;          ///< weighs stale tokens itself
};

/// A correction that `corrections = [{ type = "name" }]` may name.
struct correction_type {
  std::string name;
  std::vector<option> options;                  ///< numbers and words
  std::map<std::string, option_values> presets; ///< what each changes
};

/// A rule that `rules = [{ type = "name" }]` may name.
struct rule_type {
  std::string name;
  std::vector<option> options;
  /// What is wrong with options that are each within their limits (a pattern that is no regular expression), or "".
  std::function<std::string(const option_values&)> check;
};

/// The words that a pipeline file may use and that others define: algorithms/, runtime/rules/, runtime/train/.
struct vocabulary {
  std::vector<algorithm_type> algorithms;
  std::vector<rule_type> rules;
  std::vector<std::string> optimizers;
  std::vector<correction_type> corrections = {};
  std::vector<std::string> aggregations = {}, kl_estimators = {}, proximals = {};
  /// What is wrong with a regular expression over parameters' names, or "".
  std::function<std::string(const std::string&)> pattern_mistake = {};

  /// nullptr for an unknown name
  const algorithm_type* algorithm(const std::string& name) const;
  /// nullptr for an unknown name
  const correction_type* correction(const std::string& name) const;
  /// nullptr for an unknown name
  const rule_type* rule(const std::string& name) const;
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
