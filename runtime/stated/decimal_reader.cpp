#include "runtime/stated/decimal_reader.hpp"

#include "runtime/stated/characters.hpp"

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>

namespace millrace::stated {
namespace {

constexpr std::size_t most_digits = 1000;
constexpr std::int64_t largest_exponent = 9999;

struct digits_reader {
  std::string_view text;
  std::size_t at = 0;
  std::string digits;

  char peek(std::size_t ahead = 0) const { return at + ahead < text.size() ? text[at + ahead] : '\0'; }

  std::size_t run(std::size_t ahead = 0) const {
    std::size_t end = at + ahead;
    while (end < text.size() && is_digit(text[end]))
      ++end;
    return end - at - ahead;
  }

  void take_run() {
    const std::size_t count = run();
    digits += text.substr(at, count);
    at += count;
  }

  /// `separator` and exactly `count` digits behind it.
  bool group_follows(char separator, std::size_t count, std::size_t ahead = 0) const {
    return peek(ahead) == separator && run(ahead + 1) == count;
  }

  void take_groups(char separator) {
    while (group_follows(separator, 3)) {
      ++at;
      take_run();
    }
  }

  /// 12,34,567: groups of two, then one of three.
  bool take_indian_groups() {
    std::size_t ahead = 0;
    while (group_follows(',', 2, ahead))
      ahead += 3;
    if (ahead == 0 || !group_follows(',', 3, ahead))
      return false;
    for (ahead += 4; ahead > 0; --ahead, ++at)
      if (is_digit(peek()))
        digits += peek();
    return true;
  }

  /// 1.234,50 and 1.234.567: points between thousands. @returns how many decimals there are; nothing if it is another
  std::optional<std::size_t> take_continental() {
    std::size_t ahead = 0, groups = 0;
    for (; group_follows('.', 3, ahead); ahead += 4)
      ++groups;
    const std::size_t decimals = groups > 0 && peek(ahead) == ',' ? run(ahead + 1) : 0;
    if (groups == 0 || (groups == 1 && decimals == 0))
      return std::nullopt;
    for (std::size_t i = 0; i < groups; ++i) {
      ++at;
      take_run();
    }
    if (decimals > 0) {
      ++at;
      take_run();
    }
    return decimals;
  }
};

/// Digits that repeat without end behind the last decimal: `\overline{3}` or `(3)`; "" if there are none.
std::string_view take_repetend(digits_reader& in) {
  for (const auto& [open, close] : {std::pair<std::string_view, char>{"\\overline{", '}'}, {"(", ')'}})
    if (in.text.substr(in.at).starts_with(open)) {
      const std::size_t count = in.run(open.size());
      if (count > 0 && count <= most_digits && in.peek(open.size() + count) == close) {
        const auto found = in.text.substr(in.at + open.size(), count);
        in.at += open.size() + count + 1;
        return found;
      }
    }
  return {};
}

/// The exponent behind e or E; 0 if there is none. @param too_large set if it is past the largest
std::int64_t take_exponent(digits_reader& in, bool& too_large) {
  if (in.peek() != 'e' && in.peek() != 'E')
    return 0;
  const std::size_t sign = in.peek(1) == '-' || in.peek(1) == '+' ? 1 : 0;
  const std::size_t count = in.run(1 + sign);
  if (count == 0 || is_letter(in.peek(1 + sign + count)))
    return 0;
  std::int64_t value = 0;
  for (std::size_t i = 0; i < count; ++i)
    value = std::min(value * 10 + (in.peek(1 + sign + i) - '0'), largest_exponent + 1);
  const bool below = sign == 1 && in.peek(1) == '-';
  in.at += 1 + sign + count;
  too_large = value > largest_exponent;
  return below ? -value : value;
}

/// digits * 10^exponent, and behind them `repetend` for ever: the value is over 99...9 of as many digits.
std::optional<exact_number> value_of(const std::string& digits, std::int64_t exponent, std::string_view repetend) {
  const auto value = exact_number::of_decimal(digits, exponent);
  if (!value || repetend.empty())
    return value;
  const auto part = exact_number::of_decimal(repetend, exponent);
  const auto nines = exact_number::of_decimal(std::string(repetend.size(), '9'), 0);
  const auto rest = part && nines ? part->over(*nines) : std::nullopt;
  return rest ? value->plus(*rest) : std::nullopt;
}

} // namespace

decimal_reading decimal_at_start(std::string_view text) {
  digits_reader in{.text = text};
  if (!is_digit(in.peek()) && !(in.peek() == '.' && is_digit(in.peek(1))))
    return {};
  if (in.peek() == '0' && (in.peek(1) == 'x' || in.peek(1) == 'X')
      && std::isxdigit(static_cast<unsigned char>(in.peek(2)))) {
    in.at = 2;
    while (std::isxdigit(static_cast<unsigned char>(in.peek())))
      ++in.at;
    return {std::nullopt, in.at, false};
  }
  const bool grouped = in.peek() != '0' && in.run() <= 3 && in.run() > 0;
  in.take_run();
  std::int64_t exponent = 0;
  std::string_view repetend;
  bool is_integer = true;
  if (const auto decimals = grouped ? in.take_continental() : std::nullopt) {
    exponent = -static_cast<std::int64_t>(*decimals);
    is_integer = *decimals == 0;
  } else {
    if (grouped && !in.take_indian_groups())
      for (const char separator : {',', ' ', '\'', '_'})
        if (in.digits.size() <= 3)
          in.take_groups(separator);
    if (const std::size_t point = in.at, before = in.digits.size(); in.peek() == '.') {
      ++in.at;
      in.take_run();
      exponent = -static_cast<std::int64_t>(in.digits.size() - before);
      repetend = take_repetend(in);
      is_integer = exponent == 0 && repetend.empty();
      in.at = is_integer ? point : in.at;
    }
  }
  bool too_large = false;
  const std::size_t behind_digits = in.at;
  exponent += take_exponent(in, too_large);
  is_integer = is_integer && in.at == behind_digits;
  // A second point makes a version or a date of it, an ellipsis a number whose end is not said.
  const bool is_broken =
      in.peek() == '.' && (is_digit(in.peek(1)) || (!is_integer && in.text.substr(in.at).starts_with("...")));
  while (in.peek() == '.' && is_digit(in.peek(1))) {
    ++in.at;
    in.take_run();
  }
  if (is_broken || too_large || in.digits.size() > most_digits)
    return {std::nullopt, in.at, false};
  return {value_of(in.digits, exponent, repetend), in.at, is_integer};
}

} // namespace millrace::stated
