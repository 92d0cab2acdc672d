#include "runtime/stated/number_reader.hpp"

#include "runtime/stated/characters.hpp"
#include "runtime/stated/decimal_reader.hpp"
#include "runtime/stated/number_words.hpp"

#include <algorithm>

namespace millrace::stated {
namespace {

constexpr int deepest = 8; ///< parentheses, braces and fractions within each other

exact_number power_of_ten(std::int64_t exponent) {
  return *exact_number::of_decimal("1", exponent);
}

/// Reads along a plain text. A member that does not find what it looks for leaves `at` where it was and returns
/// nothing; one that finds something that cannot be read sets `broken` too, behind it.
struct plain_reader {
  std::string_view text;
  bool hundredth = false;
  std::size_t at = 0;
  bool broken = false;

  using maybe = std::optional<exact_number>;

  char peek(std::size_t ahead = 0) const { return at + ahead < text.size() ? text[at + ahead] : '\0'; }

  bool take(std::string_view word) {
    if (!text.substr(at).starts_with(word))
      return false;
    at += word.size();
    return true;
  }

  void skip_blanks() {
    while (peek() == ' ')
      ++at;
  }

  std::string_view word_here() const {
    std::size_t end = at;
    while (end < text.size() && is_letter(text[end]))
      ++end;
    return text.substr(at, end - at);
  }

  maybe fail() {
    broken = true;
    return std::nullopt;
  }

  maybe signed_number(int depth) {
    const std::size_t begin = at;
    const bool negative = peek() == '-';
    if (negative || peek() == '+')
      ++at;
    skip_blanks();
    const auto found = unsigned_number(depth);
    if (!found) {
      if (!broken)
        at = begin;
      return std::nullopt;
    }
    return negative ? -*found : *found;
  }

  /// A product with a power of ten, a mixed number, a fraction or one of their parts.
  maybe unsigned_number(int depth) {
    const std::size_t begin = at;
    const auto plain = decimal_at_start(text.substr(at));
    auto value = primary(depth);
    if (!value)
      return std::nullopt;
    const bool is_decimal = plain.length > 0 && at == begin + plain.length;
    if (is_decimal && plain.is_integer)
      if (const auto part = mixed_part(depth); part || broken)
        return part ? value->plus(*part) : std::nullopt;
    if (text.substr(begin).starts_with("\\frac") && power_follows())
      return fail(); // what it raises is not said
    value = raised(*value);
    if (value && is_decimal)
      value = times_power_of_ten(*value);
    if (value)
      value = divided(*value, depth);
    return value ? value : fail();
  }

  maybe primary(int depth) {
    if (depth >= deepest)
      return std::nullopt;
    if (const auto decimal = decimal_at_start(text.substr(at)); decimal.length > 0) {
      at += decimal.length;
      return decimal.value ? decimal.value : fail();
    }
    if (peek() == '(' || peek() == '{')
      return group(peek(), peek() == '(' ? ')' : '}', depth);
    if (text.substr(at).starts_with("\\frac"))
      return fraction(depth);
    return std::nullopt;
  }

  /// A number alone between two brackets.
  maybe group(char open, char close, int depth) {
    const std::size_t begin = at;
    if (peek() == open) {
      ++at;
      skip_blanks();
      const auto inside = signed_number(depth + 1);
      skip_blanks();
      if (inside && peek() == close) {
        ++at;
        return inside;
      }
    }
    at = begin;
    broken = false;
    return std::nullopt;
  }

  maybe fraction(int depth) {
    at += std::string_view("\\frac").size();
    const auto above = fraction_part(depth);
    const auto below = above ? fraction_part(depth) : std::nullopt;
    const auto value = below ? above->over(*below) : std::nullopt;
    return value ? value : fail();
  }

  /// One of a fraction's two arguments: braces, or a single digit.
  maybe fraction_part(int depth) {
    skip_blanks();
    if (!is_digit(peek()))
      return group('{', '}', depth);
    return exact_number::of_decimal(text.substr(at++, 1), 0);
  }

  /// The 1/2 of `2 1/2` or `2\frac{1}{2}`: of integers, above 0, below 1. Anything else that looks like it is broken.
  maybe mixed_part(int depth) {
    const std::size_t begin = at;
    skip_blanks();
    const bool apart = at > begin;
    std::optional<exact_number> part;
    if (text.substr(at).starts_with("\\frac")) {
      part = fraction(depth);
    } else if (apart && is_digit(peek())) {
      const auto above = decimal_at_start(text.substr(at));
      at += above.length;
      const std::size_t slash = at;
      const bool divides = above.value && above.is_integer && take("/") && is_digit(peek());
      at = divides ? slash + 1 : at;
      const auto below = divides ? decimal_at_start(text.substr(at)) : decimal_reading();
      at += below.length;
      if (!divides || !below.value) {
        at = begin;
        return std::nullopt;
      }
      part = below.is_integer ? above.value->over(*below.value) : std::nullopt;
    } else {
      at = begin;
      return std::nullopt;
    }
    return part && !part->is_negative() && !part->is_zero() && part->is_proper() && !chain_follows() ? part : fail();
  }

  bool power_follows() const {
    const std::size_t next = text.find_first_not_of(' ', at);
    return next != std::string_view::npos && text[next] == '^';
  }

  /// `value` to the power that follows, if one does; a raised `th` is none.
  maybe raised(const exact_number& value) {
    const std::size_t begin = at;
    skip_blanks();
    if (!take("^")) {
      at = begin;
      return value;
    }
    skip_blanks();
    const bool braces = peek() == '{';
    at += braces;
    skip_blanks();
    if (const auto word = word_here(); word == "th" || word == "st" || word == "nd" || word == "rd") {
      at += word.size();
      skip_blanks();
      return !braces || take("}") ? maybe(value) : fail();
    }
    const bool round = take("(");
    const bool negative = take("-");
    if (!negative)
      take("+");
    skip_blanks();
    const auto power = decimal_at_start(text.substr(at));
    at += power.length;
    if (!power.value || (round && !take(")")))
      return fail();
    if (braces)
      skip_blanks();
    if ((braces && !take("}")) || peek() == '^')
      return fail();
    return value.to_the(negative ? -*power.value : *power.value);
  }

  /// `value` times the power of ten that follows, if one does: * 10^5, x 10^{-3}.
  maybe times_power_of_ten(const exact_number& value) {
    const std::size_t begin = at;
    skip_blanks();
    if (take("*") || take("x") || take("X")) {
      skip_blanks();
      if (take("10") && !is_digit(peek()) && peek() != '.') {
        const std::size_t ten = at;
        const auto power = raised(power_of_ten(1));
        if (at > ten)
          return power ? value.times(*power) : std::nullopt;
      }
    }
    at = begin;
    return value;
  }

  /// `value` over the number that follows a slash, if one does. A second slash makes a date or a chain of it.
  maybe divided(const exact_number& value, int depth) {
    const std::size_t begin = at;
    skip_blanks();
    if (take("/")) {
      skip_blanks();
      const bool negative = take("-");
      auto below = primary(depth);
      if (below)
        below = raised(*below);
      if (broken || (below && chain_follows()))
        return fail();
      if (below)
        return value.over(negative ? -*below : *below);
    }
    at = begin;
    return value;
  }

  /// Steps behind what else is divided by, if anything is.
  bool chain_follows() {
    const std::size_t begin = at;
    for (bool chain = false;; chain = true) {
      const std::size_t slash = at;
      skip_blanks();
      if (!take("/") || (skip_blanks(), !is_digit(peek()))) {
        at = chain ? slash : begin;
        return chain;
      }
      at += std::max<std::size_t>(decimal_at_start(text.substr(at)).length, 1);
    }
  }

  /// "million" and its like, as often as they follow.
  maybe scaled(exact_number value) {
    for (;;) {
      const std::size_t begin = at;
      skip_blanks();
      const auto word = word_here();
      const int zeros = zeros_of(word);
      if (zeros == 0) {
        at = begin;
        return value;
      }
      at += word.size();
      const auto product = value.times(power_of_ten(zeros));
      if (!product)
        return fail();
      value = *product;
    }
  }

  maybe in_percent(const exact_number& value) {
    const std::size_t begin = at;
    skip_blanks();
    const auto word = word_here();
    if (take("%"))
      return hundredth ? value.times(power_of_ten(-2)) : value;
    if (word == "percent" || word == "Percent" || word == "pct") {
      at += word.size();
      return hundredth ? value.times(power_of_ten(-2)) : value;
    }
    at = begin;
    return value;
  }

  /// Whether what follows makes the number before it a part of something else.
  bool is_part() {
    const auto joined = word_here();
    if (joined.size() == 1 && joined != "e" && joined != "E" && !is_unit_letter(joined.front(), true))
      return true;
    if (joined.size() == 2 && !is_unit(joined))
      return true;
    if (!joined.empty())
      return is_function(joined);
    const std::size_t begin = at;
    skip_blanks();
    const bool changed = at > begin && changes_number_before(word_here());
    const bool product = take("*");
    const bool divides = !product && take("/");
    if (product)
      skip_blanks();
    const auto word = word_here();
    const bool by_variable = word.size() == 1 && !is_unit_letter(word.front(), false);
    const bool by_constant = product && (peek() == '\\' || is_function(word) || text.substr(at).starts_with("\u03C0"));
    at = begin;
    return changed || ((product || divides) && by_variable) || by_constant;
  }
};

} // namespace

number_reading number_at_start(std::string_view text, bool percent_is_hundredth) {
  plain_reader in{.text = text, .hundredth = percent_is_hundredth};
  auto value = in.signed_number(0);
  if (value)
    value = in.scaled(*value);
  if (value)
    value = in.in_percent(*value);
  if (!value)
    return {std::nullopt, in.broken ? std::max<std::size_t>(in.at, 1) : 0};
  if (in.is_part())
    value.reset();
  return {std::move(value), in.at};
}

} // namespace millrace::stated
