#include "algorithms/algorithm.hpp"
#include "runtime/input_error.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/rules/rule.hpp"

namespace millrace::pipeline {
namespace {

algorithm_type word_of(const algorithms::algorithm& row) {
  algorithm_type type{std::string(row.name), {}, {}};
  for (const algorithms::column_name column : row.columns)
    type.reads.emplace_back(column);
  for (const algorithms::option& o : row.options)
    type.options.push_back({std::string(o.name), o.fallback, between(o.low, o.high), std::string(o.meaning)});
  return type;
}

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

} // namespace

const vocabulary& built_in_vocabulary() {
  static const vocabulary words = [] {
    vocabulary v;
    for (const algorithms::algorithm* row : algorithms::all())
      v.algorithms.push_back(word_of(*row));
    for (const rules::rule_type* row : rules::rule_types())
      v.rules.push_back(word_of(*row));
    v.optimizers = {"adamw"};
    return v;
  }();
  return words;
}

} // namespace millrace::pipeline
