#include "runtime/rules/code_tests.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/written_numbers.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>

namespace millrace::rules {
namespace {

using nlohmann::json;

constexpr int deepest_test = 64; ///< levels: what is compared is walked through recursively

[[noreturn]] void refuse_tests(const std::string& found) {
  throw input_error("tests: found " + found
                    + ", want \"inputs\" and \"outputs\", \"test\" and \"entry_point\", or statements of assert");
}

/// The text as JSON; discarded where it is none.
json json_in(std::string_view text) {
  try {
    return formats::parse_json(
        text, "",
        {.depth = deepest_test, .numbers = formats::json_numbers::as_written, .keys = formats::json_keys::last_counts});
  } catch (const formats::json_too_deep&) {
    refuse_tests("more than " + std::to_string(deepest_test) + " levels");
  } catch (const input_error&) {
    return json::value_t::discarded;
  }
}

std::string text_at(const json& row, const char* name) {
  const auto found = row.find(name);
  if (found == row.end() || found->is_null())
    return {};
  if (!found->is_string())
    refuse_tests(std::string("a \"") + name + "\" that is no text");
  return found->get<std::string>();
}

std::string written(const json& value) {
  return formats::written_text(value);
}

/// A list of lines as one text; text as it is.
std::string lines_of(const json& value) {
  if (value.is_string())
    return value.get<std::string>();
  if (!value.is_array())
    refuse_tests("an input or output that is of type " + formats::written_type(value));
  std::string text;
  for (const json& line : value)
    text += (text.empty() ? "" : "\n") + (line.is_string() ? line.get<std::string>() : written(line));
  return text;
}

/// The arguments of a call, a JSON text a line: as they are, or out of a list.
std::string arguments_of(const json& value) {
  if (value.is_string()) {
    const auto& lines = value.get_ref<const std::string&>();
    for (std::size_t at = 0; at < lines.size();) {
      const auto end = std::min(lines.find('\n', at), lines.size());
      const auto line = std::string_view(lines).substr(at, end - at);
      if (line.find_first_not_of(" \t\r") != std::string_view::npos && json_in(line).is_discarded())
        refuse_tests("the argument \"" + std::string(line.substr(0, 40)) + "\" that is no JSON");
      at = end + 1;
    }
    return lines;
  }
  if (!value.is_array())
    refuse_tests("arguments of type " + formats::written_type(value));
  std::string text;
  for (const json& argument : value)
    text += written(argument) + '\n';
  return text;
}

/// What a call should return: text is JSON where it can be read as such.
json result_of(const json& value) {
  if (!value.is_string())
    return value;
  auto inner = json_in(value.get_ref<const std::string&>());
  return inner.is_discarded() ? value : inner;
}

code_tests pairs_in(const json& row) {
  const json &inputs = row.at("inputs"), &outputs = row.at("outputs");
  if (!inputs.is_array() || !outputs.is_array() || inputs.size() != outputs.size() || inputs.empty())
    refuse_tests("\"inputs\" and \"outputs\" that are no lists of one length");
  code_tests found{.function = text_at(row, "fn_name")};
  found.kind = found.function.empty() ? test_kind::input : test_kind::call;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const bool call = found.kind == test_kind::call;
    found.given.push_back(call ? arguments_of(inputs[i]) : lines_of(inputs[i]));
    found.expected.push_back(call ? result_of(outputs[i]) : json(lines_of(outputs[i])));
  }
  return found;
}

code_tests statements_in(const json& list, std::string setup) {
  code_tests found{.kind = test_kind::assertion, .setup = std::move(setup)};
  for (const json& statement : list) {
    if (!statement.is_string())
      refuse_tests("a list of what is no text");
    found.given.push_back(statement.get<std::string>());
  }
  if (found.given.empty())
    refuse_tests("an empty list");
  return found;
}

code_tests check_in(const json& row) {
  const auto entry = text_at(row, "entry_point");
  if (entry.empty())
    refuse_tests("a \"test\" without an \"entry_point\"");
  if (text_at(row, "test").find("def check") == std::string::npos)
    refuse_tests("a \"test\" that defines no check");
  return {.kind = test_kind::assertion, .given = {text_at(row, "test") + "\ncheck(" + entry + ")\n"}};
}

/// Python text: each assert that begins a line, and what follows until the next, is a test.
code_tests python_in(std::string_view text) {
  code_tests found{.kind = test_kind::assertion};
  std::string* into = &found.setup;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size() - 1) + 1;
    const auto line = text.substr(at, end - at);
    if (line.starts_with("assert ") || line.starts_with("assert("))
      into = &found.given.emplace_back();
    *into += line;
    at = end;
  }
  if (found.given.empty())
    refuse_tests(text.empty() ? "nothing"
                              : "\"" + std::string(text.substr(0, std::min<std::size_t>(text.find('\n'), 40))) + "\"");
  return found;
}

} // namespace

code_tests read_code_tests(std::string_view answer) {
  const auto row = json_in(answer);
  if (row.is_discarded())
    return python_in(answer);
  if (row.is_array())
    return statements_in(row, "");
  if (!row.is_object())
    refuse_tests(std::string("a JSON ") + row.type_name());
  if (row.contains("inputs") && row.contains("outputs"))
    return pairs_in(row);
  if (row.contains("test"))
    return check_in(row);
  if (const auto list = row.find("test_list"); list != row.end() && list->is_array())
    return statements_in(*list, text_at(row, "test_setup_code"));
  refuse_tests("a JSON object without tests");
}

} // namespace millrace::rules
