#include "runtime/rules/rule.hpp"

#include "runtime/words/decimal.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

namespace millrace::rules {
namespace {

std::string found_words(const option_value& value) {
  if (const auto* flag = std::get_if<bool>(&value))
    return *flag ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&value))
    return std::to_string(*integer);
  if (const auto* real = std::get_if<double>(&value))
    return decimal(*real);
  if (const auto* list = std::get_if<std::vector<std::string>>(&value))
    return "a list of " + std::to_string(list->size());
  return "\"" + std::get<std::string>(value) + "\"";
}

std::string wanted_words(const option& wanted) {
  if (std::holds_alternative<bool>(wanted.fallback))
    return "true or false";
  if (std::holds_alternative<std::vector<std::string>>(wanted.fallback))
    return "a list of strings";
  if (std::holds_alternative<std::string>(wanted.fallback)) {
    std::string words;
    for (const std::string& word : wanted.allowed.words)
      words += (words.empty() ? "\"" : ", \"") + word + "\"";
    return words.empty() ? "text" : wanted.allowed.words.size() == 1 ? words : "one of " + words;
  }
  std::string range = std::holds_alternative<std::int64_t>(wanted.fallback) ? "an integer" : "a number";
  if (std::isfinite(wanted.allowed.low))
    range += " >= " + decimal(wanted.allowed.low);
  if (std::isfinite(wanted.allowed.high))
    range += (std::isfinite(wanted.allowed.low) ? " and <= " : " <= ") + decimal(wanted.allowed.high);
  return range;
}

bool is_allowed(const std::string& text, const limits& allowed) {
  return allowed.words.empty() || std::find(allowed.words.begin(), allowed.words.end(), text) != allowed.words.end();
}

/// `value` as one of the option's type, or nothing if it is of another or outside the limits.
std::optional<option_value> checked(const option& wanted, option_value value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value);
      integer && std::holds_alternative<double>(wanted.fallback))
    value = static_cast<double>(*integer);
  if (value.index() != wanted.fallback.index())
    return std::nullopt;
  const bool fits = std::visit(
      [&]<class Value>(const Value& held) {
        if constexpr (std::is_same_v<Value, std::string>)
          return is_allowed(held, wanted.allowed);
        else if constexpr (std::is_arithmetic_v<Value> && !std::is_same_v<Value, bool>)
          return within(static_cast<double>(held), wanted.allowed);
        else
          return true;
      },
      value);
  return fits ? std::optional(std::move(value)) : std::nullopt;
}

} // namespace

const rule_type* find_rule_type(std::string_view name) {
  for (const rule_type* type : rule_types())
    if (type->name == name)
      return type;
  return nullptr;
}

std::unique_ptr<rule> make_rule(std::string_view type_name, const option_values& values) {
  const rule_type* const type = find_rule_type(type_name);
  if (!type) {
    std::string names;
    for (const rule_type* known : rule_types())
      names += (names.empty() ? "" : ", ") + known->name;
    throw input_error("rule: found type \"" + std::string(type_name) + "\", want one of " + names);
  }
  const std::string where = "rule " + type->name + ": ";
  for (const auto& [name, value] : values)
    if (std::none_of(type->options.begin(), type->options.end(),
                     [&](const option& known) { return known.name == name; }))
      throw input_error(where + "found the option \"" + name + "\", want one it has");

  option_values complete;
  for (const option& known : type->options) {
    const auto given = values.find(known.name);
    if (given == values.end()) {
      if (known.allowed.needed)
        throw input_error(where + known.name + ": found nothing, want " + wanted_words(known));
      if (!known.optional)
        complete.emplace(known.name, known.fallback);
      continue;
    }
    auto value = checked(known, given->second);
    if (!value)
      throw input_error(where + known.name + ": found " + found_words(given->second) + ", want " + wanted_words(known));
    complete.emplace(known.name, *std::move(value));
  }
  return type->make(complete);
}

} // namespace millrace::rules
