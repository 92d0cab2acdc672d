#include "algorithms/algorithm.hpp"
#include "algorithms/anchor.hpp"
#include "algorithms/correction.hpp"
#include "algorithms/kl.hpp"
#include "runtime/input_error.hpp"
#include "runtime/model/pattern.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/rules/rule.hpp"

namespace millrace::pipeline {
namespace {

/// A choice among words is a string, everything else a number.
option_value value_of(const algorithms::option& o, double number) {
  if (o.words.empty())
    return number;
  return std::string(o.words[static_cast<std::size_t>(number)]);
}

option option_of(const algorithms::option& o) {
  option out{std::string(o.name), value_of(o, o.fallback), {}, std::string(o.meaning)};
  out.allowed = o.words.empty() ? between(o.low, o.high) : one_of({o.words.begin(), o.words.end()});
  return out;
}

algorithm_type word_of(const algorithms::algorithm& row) {
  algorithm_type type{std::string(row.name), {}, {}, std::string(algorithms::name_of(row.how)), row.corrects};
  for (const algorithms::column_name column : row.columns)
    type.reads.emplace_back(column);
  for (const algorithms::option& o : row.options)
    type.options.push_back(option_of(o));
  return type;
}

correction_type word_of(const algorithms::correction& row) {
  correction_type type{std::string(row.name), {}, {}};
  for (const algorithms::option& o : row.options)
    type.options.push_back(option_of(o));
  for (const algorithms::preset& preset : row.presets)
    for (const auto& setting : preset.settings)
      for (const algorithms::option& o : row.options)
        if (o.name == setting.option)
          type.presets[std::string(preset.name)][std::string(o.name)] = value_of(o, setting.value);
  return type;
}

template <class Words> std::vector<std::string> strings(const Words& words) { return {words.begin(), words.end()}; }

option_value zero_of(rules::option_type type) {
  switch (type) {
  case rules::option_type::boolean:
    return false;
  case rules::option_type::integer:
    return std::int64_t{0};
  case rules::option_type::real:
    return 0.0;
  case rules::option_type::text:
    return std::string();
  }
  return std::string();
}

option option_of(const rules::option_description& described) {
  option o;
  o.name = described.name;
  o.meaning = described.doc;
  o.fallback = zero_of(described.type);
  o.allowed = between(described.minimum, described.maximum);
  o.allowed.words.assign(described.choices.begin(), described.choices.end());
  o.allowed.needed = described.required;
  o.optional = !described.required && std::holds_alternative<std::monostate>(described.default_value);
  std::visit(
      [&]<class Value>(const Value& value) {
        if constexpr (std::is_same_v<Value, std::string_view>)
          o.fallback = std::string(value);
        else if constexpr (!std::is_same_v<Value, std::monostate>)
          o.fallback = value;
      },
      described.default_value);
  return o;
}

rule_type word_of(const rules::rule_type& row) {
  rule_type type{std::string(row.name), {}, {}};
  for (const rules::option_description& described : row.options)
    type.options.push_back(option_of(described));
  type.check = [name = row.name](const option_values& values) -> std::string {
    try {
      rules::make_rule(name, {values.begin(), values.end()});
    } catch (const input_error& error) {
      return error.what();
    }
    return {};
  };
  return type;
}

std::string pattern_mistake(const std::string& expression) {
  try {
    model::pattern(expression, "found \"" + expression + "\"");
  } catch (const input_error& error) {
    return error.what();
  }
  return {};
}

} // namespace

const vocabulary& built_in_vocabulary() {
  static const vocabulary words = [] {
    vocabulary v;
    for (const algorithms::algorithm* row : algorithms::all())
      v.algorithms.push_back(word_of(*row));
    for (const rules::rule_type* row : rules::rule_types())
      v.rules.push_back(word_of(*row));
    v.optimizers = {"adamw"};
    v.pattern_mistake = pattern_mistake;
    for (const algorithms::correction* row : algorithms::all_corrections())
      v.corrections.push_back(word_of(*row));
    v.aggregations = strings(algorithms::aggregation_words);
    v.kl_estimators = strings(algorithms::kl_estimator_words);
    v.proximals = strings(algorithms::proximal_words);
    return v;
  }();
  return words;
}

} // namespace millrace::pipeline
