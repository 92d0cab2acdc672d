#include "runtime/rules/code_match.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/written_numbers.hpp"

#include <charconv>
#include <cmath>
#include <optional>
#include <vector>

namespace millrace::rules {
namespace {

using nlohmann::json;

constexpr int deepest_result = 64; ///< levels: equality walks through them recursively
constexpr std::string_view blanks = " \t\r\f\v";

bool is_close(double found, double wanted) {
  return std::abs(found - wanted) <= 1e-8 + 1e-5 * std::abs(wanted);
}

/// A word as a number; nothing where it is none.
std::optional<double> number_in(std::string_view word) {
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size() ? std::optional(value) : std::nullopt;
}

bool is_integer(std::string_view word) {
  return word.find_first_not_of("+-0123456789") == std::string_view::npos;
}

bool same_word(std::string_view found, std::string_view wanted) {
  if (found == wanted)
    return true;
  if (is_integer(found) && is_integer(wanted))
    return false;
  const auto left = number_in(found), right = number_in(wanted);
  return left && right && is_close(*left, *right);
}

/// The next word of a line, taken from its front; empty at its end.
std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
  const auto word = line.substr(0, line.find_first_of(blanks));
  line.remove_prefix(word.size());
  return word;
}

bool same_words(std::string_view found, std::string_view wanted) {
  for (;;) {
    const auto left = take_word(found), right = take_word(wanted);
    if (left.empty() || right.empty())
      return left.empty() && right.empty();
    if (!same_word(left, right))
      return false;
  }
}

/// The next line that has a word, taken from the front of the text; empty at its end.
std::string_view take_line(std::string_view& text) {
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.find_first_not_of(blanks) != std::string_view::npos)
      return line;
  }
  return {};
}

double number_of(const json& value) {
  return value.is_boolean() ? value.get<bool>() : formats::number_of(value);
}

/// Of any length: those of more than 64 bits are kept as they were written.
bool is_whole(const json& value) {
  return value.is_boolean() || is_integer(formats::number_text(value));
}

bool same_json(const json& found, const json& wanted) {
  const auto counts = [](const json& value) { return formats::is_number(value) || value.is_boolean(); };
  if (counts(found) && counts(wanted)) {
    const bool exact = is_whole(found) && is_whole(wanted);
    if (exact && !found.is_boolean() && !wanted.is_boolean())
      return formats::number_text(found) == formats::number_text(wanted);
    return exact ? number_of(found) == number_of(wanted) : is_close(number_of(found), number_of(wanted));
  }
  if (found.type() != wanted.type() || found.size() != wanted.size())
    return false;
  if (found.is_array()) {
    for (std::size_t i = 0; i < found.size(); ++i)
      if (!same_json(found[i], wanted[i]))
        return false;
    return true;
  }
  if (found.is_object()) {
    for (const auto& [name, value] : wanted.items())
      if (const auto mine = found.find(name); mine == found.end() || !same_json(*mine, value))
        return false;
    return true;
  }
  return found == wanted;
}

/// A list of one counts as what is in it.
bool is_same(const json& found, const json& wanted) {
  return same_json(found, wanted) || (wanted.is_array() && wanted.size() == 1 && same_json(found, wanted[0]));
}

} // namespace

bool same_output(std::string_view found, std::string_view wanted) {
  for (;;) {
    const auto left = take_line(found), right = take_line(wanted);
    if (left.empty() || right.empty())
      return left.empty() && right.empty();
    if (!same_words(left, right))
      return false;
  }
}

bool same_result(std::string_view found, const json& wanted) {
  const auto value = formats::json_or_discarded(
      found,
      {.depth = deepest_result, .numbers = formats::json_numbers::as_written, .keys = formats::json_keys::last_counts});
  return !value.is_discarded() && is_same(value, wanted);
}

} // namespace millrace::rules
