#include "runtime/rules/rule.hpp"

#include "runtime/input_error.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

namespace millrace::rules {
namespace {

std::string in_words(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.15g", number);
  return text;
}

std::string found_words(const option_value& value) {
  if (const auto* flag = std::get_if<bool>(&value))
    return *flag ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&value))
    return std::to_string(*integer);
  if (const auto* real = std::get_if<double>(&value))
    return in_words(*real);
  return "\"" + std::get<std::string>(value) + "\"";
}

std::string wanted_words(const option_description& option) {
  std::string range;
  if (option.minimum > -HUGE_VAL)
    range += " >= " + in_words(option.minimum);
  if (option.maximum < HUGE_VAL)
    range += (range.empty() ? " <= " : " and <= ") + in_words(option.maximum);
  switch (option.type) {
  case option_type::boolean: return "true or false";
  case option_type::integer: return "an integer" + range;
  case option_type::real: return "a number" + range;
  case option_type::text: break;
  }
  if (option.choices.empty())
    return "text";
  std::string words;
  for (const std::string_view choice : option.choices)
    words += (words.empty() ? "\"" : ", \"") + std::string(choice) + "\"";
  return option.choices.size() == 1 ? words : "one of " + words;
}

/// `value` as the described type, or nothing if it is of another or outside the range.
std::optional<option_value> checked(const option_description& option, const option_value& value) {
  const auto in_range = [&](double number) { return number >= option.minimum && number <= option.maximum; };
  const auto* const integer = std::get_if<std::int64_t>(&value);
  switch (option.type) {
  case option_type::boolean:
    if (std::holds_alternative<bool>(value))
      return value;
    break;
  case option_type::integer:
    if (integer && in_range(static_cast<double>(*integer)))
      return value;
    break;
  case option_type::real:
    if (integer && in_range(static_cast<double>(*integer)))
      return static_cast<double>(*integer);
    if (const auto* real = std::get_if<double>(&value); real && in_range(*real))
      return value;
    break;
  case option_type::text:
    if (const auto* text = std::get_if<std::string>(&value))
      if (option.choices.empty() || std::find(option.choices.begin(), option.choices.end(), *text) != option.choices.end())
        return value;
    break;
  }
  return std::nullopt;
}

std::optional<option_value> default_of(const option_description& option) {
  if (const auto* flag = std::get_if<bool>(&option.default_value))
    return *flag;
  if (const auto* integer = std::get_if<std::int64_t>(&option.default_value))
    return *integer;
  if (const auto* real = std::get_if<double>(&option.default_value))
    return *real;
  if (const auto* text = std::get_if<std::string_view>(&option.default_value))
    return std::string(*text);
  return std::nullopt;
}

} // namespace

const rule_type* find_rule_type(std::string_view name) {
  for (const rule_type* type : rule_types())
    if (type->name == name)
      return type;
  return nullptr;
}

std::unique_ptr<rule> make_rule(std::string_view type_name, const option_map& options) {
  const rule_type* const type = find_rule_type(type_name);
  if (!type) {
    std::string names;
    for (const rule_type* known : rule_types())
      names += (names.empty() ? "" : ", ") + std::string(known->name);
    throw input_error("rule: found type \"" + std::string(type_name) + "\", want one of " + names);
  }
  const std::string where = "rule " + std::string(type->name) + ": ";
  for (const auto& [name, value] : options)
    if (std::none_of(type->options.begin(), type->options.end(), [&](const auto& option) { return option.name == name; }))
      throw input_error(where + "found the option \"" + name + "\", want one it has");

  option_map complete;
  for (const option_description& option : type->options) {
    const auto given = options.find(option.name);
    const std::string name(option.name);
    if (given == options.end()) {
      if (option.required)
        throw input_error(where + name + ": found nothing, want " + wanted_words(option));
      if (auto value = default_of(option))
        complete.emplace(name, *std::move(value));
      continue;
    }
    auto value = checked(option, given->second);
    if (!value)
      throw input_error(where + name + ": found " + found_words(given->second) + ", want " + wanted_words(option));
    complete.emplace(name, *std::move(value));
  }
  return type->make(complete);
}

} // namespace millrace::rules
