#include "runtime/environments/expression.hpp"

#include "runtime/words/input_error.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace millrace::environments {
namespace {

constexpr int deepest = 64;
constexpr std::size_t longest = 1000; // bytes
constexpr double exact = 9007199254740992.0;

class reader_of_sums {
public:
  explicit reader_of_sums(std::string_view text) : text_(text) {}

  double whole() {
    const double value = sum();
    skip();
    if (at_ < text_.size())
      throw wrong("found '" + std::string(text_.substr(at_, 10)) + "'");
    if (!std::isfinite(value))
      throw wrong("the value is too large");
    return value;
  }

private:
  input_error wrong(const std::string& why) const {
    return input_error(why + " at place " + std::to_string(at_ + 1) + " of the expression");
  }

  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t'))
      ++at_;
  }

  bool take(std::string_view sign) {
    skip();
    if (!text_.substr(at_).starts_with(sign))
      return false;
    at_ += sign.size();
    return true;
  }

  double sum() {
    double value = product();
    for (;;)
      if (take("+"))
        value += product();
      else if (take("-") || take("\xE2\x88\x92"))
        value -= product();
      else
        return value;
  }

  double product() {
    double value = signed_power();
    for (;;)
      if (take("*") || take("\xC3\x97"))
        value *= signed_power();
      else if (take("/") || take("\xC3\xB7"))
        value /= divisor();
      else if (take("%"))
        value = std::fmod(value, divisor());
      else
        return value;
  }

  double divisor() {
    const double by = signed_power();
    if (by == 0)
      throw wrong("division by zero");
    return by;
  }

  double signed_power() {
    if (take("-"))
      return -signed_power_within();
    take("+");
    return power();
  }

  double signed_power_within() {
    const nested in(*this);
    return signed_power();
  }

  double power() {
    const double base = atom();
    if (!take("**") && !take("^"))
      return base;
    const nested in(*this);
    return std::pow(base, signed_power());
  }

  double atom() {
    if (take("(")) {
      const nested in(*this);
      const double value = sum();
      if (!take(")"))
        throw wrong("a parenthesis is not closed");
      return value;
    }
    return number();
  }

  double number() {
    skip();
    std::string digits;
    while (at_ < text_.size()
           && (is_digit(at_) || text_[at_] == '.' || (text_[at_] == ',' && !digits.empty() && is_digit(at_ + 1))))
      if (const char c = text_[at_++]; c != ',')
        digits += c;
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size())
      throw wrong(at_ < text_.size() ? "want a number" : "the expression ends where a number is wanted");
    return value;
  }

  bool is_digit(std::size_t at) const { return at < text_.size() && text_[at] >= '0' && text_[at] <= '9'; }

  struct nested {
    explicit nested(reader_of_sums& of) : of_(of) {
      if (++of_.depth_ > deepest)
        throw of_.wrong("more than " + std::to_string(deepest) + " levels");
    }

    ~nested() { --of_.depth_; }

    nested(const nested&) = delete;
    nested& operator=(const nested&) = delete;
    reader_of_sums& of_;
  };

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

} // namespace

std::string value_of_expression(std::string_view text) {
  if (text.size() > longest)
    throw input_error("an expression of " + std::to_string(text.size()) + " bytes, want at most "
                      + std::to_string(longest));
  const double value = reader_of_sums(text).whole();
  std::array<char, 40> written{};
  const bool whole = value == std::floor(value) && std::abs(value) <= exact;
  std::snprintf(written.data(), written.size(), whole ? "%.0f" : "%.12g", value == 0 ? 0.0 : value);
  return written.data();
}

} // namespace millrace::environments
