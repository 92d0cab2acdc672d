#include "runtime/rules/exact_number.hpp"

#include "runtime/rules/white_space.hpp"

#include <algorithm>
#include <tuple>
#include <vector>

namespace millrace::rules {
namespace {

constexpr std::size_t most_digits = 1000;
constexpr std::int64_t largest_exponent = 9999;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

} // namespace

/// Reads along a text; every member leaves `at` where it was if what it looks for is not there.
struct exact_number::reader {
  std::string_view text;
  std::size_t at = 0;

  bool take(std::string_view word) {
    if (!text.substr(at).starts_with(word))
      return false;
    at += word.size();
    return true;
  }

  bool take_one_of(std::initializer_list<std::string_view> words) {
    return std::any_of(words.begin(), words.end(), [&](std::string_view word) { return take(word); });
  }

  char peek(std::size_t ahead = 0) const { return at + ahead < text.size() ? text[at + ahead] : '\0'; }

  bool digits_follow(std::size_t ahead, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i)
      if (!is_digit(peek(ahead + i)))
        return false;
    return true;
  }

  /// A thousands comma counts only between groups of three digits.
  bool take_comma() {
    for (const std::string_view comma : {",", "{,}", "\\,", "\\!", ",\\!"})
      if (text.substr(at).starts_with(comma) && digits_follow(comma.size(), 3) && !is_digit(peek(comma.size() + 3))) {
        at += comma.size();
        return true;
      }
    return false;
  }

  std::optional<decimal> take_decimal() {
    const std::size_t begin = at;
    std::string digits;
    const auto take_digits = [&] {
      while (is_digit(peek()))
        digits += text[at++];
    };
    take_digits();
    if (!digits.empty() && digits.size() <= 3)
      while (take_comma())
        take_digits();
    std::int64_t exponent = 0;
    if (peek() == '.' && is_digit(peek(1))) {
      const std::size_t before = digits.size();
      ++at;
      take_digits();
      exponent = -static_cast<std::int64_t>(digits.size() - before);
    }
    if (digits.empty() || digits.size() > most_digits) {
      at = begin;
      return std::nullopt;
    }
    exponent += take_exponent();
    return normal(std::move(digits), exponent);
  }

  std::int64_t take_exponent() {
    if (peek() != 'e' && peek() != 'E')
      return 0;
    const std::size_t sign = peek(1) == '-' || peek(1) == '+' ? 1 : 0;
    if (!is_digit(peek(1 + sign)))
      return 0;
    std::int64_t value = 0;
    std::size_t end = 1 + sign;
    for (; is_digit(peek(end)); ++end)
      value = std::min(value * 10 + (peek(end) - '0'), largest_exponent + 1);
    if (value > largest_exponent || is_letter(peek(end)))
      return 0;
    const bool below = sign == 1 && peek(1) == '-';
    at += end;
    return below ? -value : value;
  }

  bool take_sign() {
    if (take_one_of({"-", "\xE2\x88\x92"}))
      return true;
    take("+");
    return false;
  }

  void take_currency() {
    if (take_one_of({"$", "\\$", "\xE2\x82\xAC", "\xC2\xA3"}))
      take(" ");
  }

  std::optional<std::pair<decimal, decimal>> take_latex_fraction() {
    const std::size_t begin = at;
    if (take_one_of({"\\frac{", "\\dfrac{", "\\tfrac{"}))
      if (const auto above = take_decimal(); above && take("}{"))
        if (const auto below = take_decimal(); below && take("}"))
          return std::pair{*above, *below};
    at = begin;
    return std::nullopt;
  }
};

exact_number::decimal exact_number::normal(std::string digits, std::int64_t exponent) {
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  while (!digits.empty() && digits.back() == '0') {
    digits.pop_back();
    ++exponent;
  }
  return digits.empty() ? decimal{} : decimal{std::move(digits), exponent};
}

exact_number::decimal exact_number::product(const decimal& a, const decimal& b) {
  std::vector<std::uint32_t> places(a.digits.size() + b.digits.size(), 0);
  for (std::size_t i = a.digits.size(); i-- > 0;)
    for (std::size_t k = b.digits.size(); k-- > 0;)
      places[i + k + 1] +=
          static_cast<std::uint32_t>(a.digits[i] - '0') * static_cast<std::uint32_t>(b.digits[k] - '0');
  for (std::size_t i = places.size(); i-- > 1;) {
    places[i - 1] += places[i] / 10;
    places[i] %= 10;
  }
  std::string digits;
  for (const std::uint32_t p : places)
    digits += static_cast<char>('0' + p);
  return normal(std::move(digits), a.exponent + b.exponent);
}

std::optional<exact_number> exact_number::at_start(std::string_view text, bool percent_is_hundredth,
                                                   std::size_t* read_bytes) {
  reader in{text};
  exact_number found;
  found.negative_ = in.take_sign();
  in.take_currency();
  if (!found.negative_)
    found.negative_ = in.take_sign();
  if (const auto fraction = in.take_latex_fraction()) {
    std::tie(found.numerator_, found.denominator_) = *fraction;
  } else if (const auto value = in.take_decimal()) {
    found.numerator_ = *value;
    const std::size_t slash = in.at;
    if (in.take("/")) {
      const auto below = in.take_decimal();
      if (below && in.peek() != '/')
        found.denominator_ = *below;
      else
        in.at = slash;
    }
  } else {
    return std::nullopt;
  }
  if (found.denominator_.digits.empty())
    return std::nullopt;
  const std::size_t behind = in.at;
  in.take(" ");
  if (!in.take_one_of({"%", "\\%"}))
    in.at = behind;
  else if (percent_is_hundredth && !found.numerator_.digits.empty())
    found.numerator_.exponent -= 2;
  if (found.numerator_.digits.empty())
    found.negative_ = false;
  if (read_bytes)
    *read_bytes = in.at;
  return found;
}

std::optional<exact_number> exact_number::whole(std::string_view text, bool percent_is_hundredth) {
  text = trimmed(text);
  std::size_t read_bytes = 0;
  const auto found = at_start(text, percent_is_hundredth, &read_bytes);
  text.remove_prefix(read_bytes);
  return found && (text.empty() || text == ".") ? found : std::nullopt;
}

bool exact_number::operator==(const exact_number& other) const {
  return negative_ == other.negative_
         && product(numerator_, other.denominator_) == product(other.numerator_, denominator_);
}

std::string exact_number::canonical() const {
  const auto text = [](const decimal& d) {
    return d.digits.empty()  ? std::string("0")
           : d.exponent == 0 ? d.digits
                             : d.digits + 'e' + std::to_string(d.exponent);
  };
  const std::string bottom = text(denominator_);
  return (negative_ ? "-" : "") + text(numerator_) + (bottom == "1" ? "" : '/' + bottom);
}

std::optional<exact_number> last_number(std::string_view text, bool percent_is_hundredth) {
  std::optional<exact_number> last;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    const char before = at > 0 ? text[at - 1] : ' ';
    const bool sign = c == '-' || c == '+' || text.substr(at).starts_with("\xE2\x88\x92");
    const bool sign_counts = !is_digit(before) && !is_letter(before) && before != ')' && before != ']' && before != '}';
    const bool begins = is_digit(c) || c == '.' || c == '$' || c == '\\' || static_cast<unsigned char>(c) >= 0x80
                        || (sign && sign_counts);
    std::size_t read_bytes = 0;
    if (begins && (!sign || sign_counts))
      if (const auto found = exact_number::at_start(text.substr(at), percent_is_hundredth, &read_bytes)) {
        last = found;
        at += read_bytes;
        continue;
      }
    ++at;
    while (is_digit(c) && at < text.size() && is_digit(text[at]))
      ++at;
  }
  return last;
}

} // namespace millrace::rules
