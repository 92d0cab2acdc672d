#include "runtime/stated/last_number.hpp"

#include "runtime/stated/characters.hpp"
#include "runtime/stated/decimal_reader.hpp"
#include "runtime/stated/number_reader.hpp"
#include "runtime/stated/number_words.hpp"

#include <algorithm>
#include <array>

namespace millrace::stated {
namespace {

constexpr std::size_t most_looked_back = 64; ///< blanks, so that a text of blanks takes no long time

/// Goes along a text and keeps the last number.
class prose_reader {
public:
  prose_reader(std::string_view text, bool hundredth) : text_(text), hundredth_(hundredth) {}

  std::optional<exact_number> last() {
    while (at_ < text_.size()) {
      const char c = peek();
      if (is_letter(c))
        take_word();
      else if (c == '\\')
        take_command();
      else if (c == '^' || c == '_')
        skip_raised();
      else if (static_cast<unsigned char>(c) >= 0x80)
        take_symbol();
      else if (c == '/' && follows_variable())
        take_divisor();
      else if (!begins_number(c) || !take_number())
        ++at_;
    }
    return std::move(last_);
  }

private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void skip_blanks() {
    while (peek() == ' ')
      ++at_;
  }

  std::string_view letters() {
    const std::size_t begin = at_;
    while (is_letter(peek()))
      ++at_;
    return text_.substr(begin, at_ - begin);
  }

  bool begins_number(char c) const {
    return is_digit(c) || c == '.' || c == '(' || c == '{' || ((c == '-' || c == '+') && sign_counts());
  }

  /// The text before `at_` up to its last byte that is no blank; empty at the begin of a line.
  std::string_view before() const {
    std::size_t end = at_;
    for (std::size_t looked = 0; end > 0 && text_[end - 1] == ' ' && looked < most_looked_back; ++looked)
      --end;
    return end > 0 && text_[end - 1] != '\n' ? text_.substr(0, end) : std::string_view();
  }

  /// The word that `before` ends with.
  static std::string_view last_word(std::string_view before) {
    std::size_t begin = before.size();
    while (begin > 0 && before.size() - begin < most_looked_back && is_letter(before[begin - 1]))
      --begin;
    return before.substr(begin);
  }

  bool sign_counts() const {
    const char last = at_ > 0 ? text_[at_ - 1] : ' ';
    if (peek(1) != ' ')
      return !is_digit(last) && !is_letter(last) && last != ')' && last != ']' && last != '}';
    const auto line = before();
    if (line.empty()) // a list's dash, unless the text begins with it or an equation goes on
      return text_.substr(0, at_).find_first_not_of(" \n") == std::string_view::npos || equation_goes_on();
    return std::string_view("=:([{>,").find(line.back()) != std::string_view::npos || line.ends_with("\u2248")
           || states(last_word(line));
  }

  bool equation_goes_on() const {
    std::size_t end = at_;
    for (std::size_t looked = 0;
         end > 0 && (text_[end - 1] == ' ' || text_[end - 1] == '\n') && looked < most_looked_back; ++looked)
      --end;
    return end > 0 && text_[end - 1] == '=';
  }

  /// @returns false, and stays, if no number begins here
  bool take_number() {
    const char c = peek();
    const auto found = number_at_start(text_.substr(at_), hundredth_);
    if (!found.begins())
      return false;
    const auto line = before();
    const auto word = c == '-' || c == '+' ? std::string_view() : last_word(line);
    last_ = is_bound(line) ? std::nullopt : found.value;
    const bool between_bars = c == '-' && at_ > 0 && text_[at_ - 1] == '|';
    at_ += found.length;
    if (between_bars && peek() == '|') // the absolute value is another
      last_.reset();
    if (last_ && (word == "negative" || word == "Negative" || (word == "minus" && minus_is_sign(line))))
      last_ = -*last_;
    skip_unit();
    return true;
  }

  /// Whether the line says that something is less, greater or another than what follows. A lone < or > does so only
  /// between blanks: there are tags, arrows and quotations.
  static bool is_bound(std::string_view line) {
    for (const std::string_view sign : {"\u2264", "\u2265", "\u2260", "\\le", "\\leq", "\\ge", "\\geq", "\\ne", "\\neq",
                                        "\\lt", "\\gt", "<=", ">=", "!="})
      if (line.ends_with(sign))
        return true;
    return line.size() > 2 && (line.ends_with(" <") || line.ends_with(" >"));
  }

  /// "is minus 5" but not "7 minus 5" or "x minus 5".
  static bool minus_is_sign(std::string_view line) {
    line.remove_suffix(std::string_view("minus").size());
    line = line.substr(0, line.find_last_not_of(' ') + 1);
    return line.empty() || line.back() == ':' || line.back() == '=' || states(last_word(line));
  }

  /// The 2 of `12 m2`.
  void skip_unit() {
    const std::size_t begin = at_;
    skip_blanks();
    for (const std::string_view unit : {"mm", "cm", "dm", "m", "km", "ft", "in", "yd", "mi"})
      if (text_.substr(at_).starts_with(unit) && (peek(unit.size()) == '2' || peek(unit.size()) == '3')
          && !is_digit(peek(unit.size() + 1)) && !is_letter(peek(unit.size() + 1))) {
        at_ += unit.size() + 1;
        return;
      }
    at_ = begin;
  }

  /// A word; the argument of a function is no number by itself.
  void take_word() {
    const auto word = letters();
    if (word == "mod" || (is_function(word) && peek() == '('))
      skip_argument();
  }

  void take_command() {
    if (text_.substr(at_).starts_with("\\frac") && take_number()) {
      if (!last_)
        skip_argument();
      return;
    }
    ++at_;
    const auto name = letters();
    if (is_function(name) || name == "pm" || name == "mp")
      skip_argument();
    else
      while (peek() == '{' && !name.empty() && name != "boxed" && name != "overline" && skip_group('{', '}'))
        ;
    if (name.empty() && at_ < text_.size())
      ++at_;
  }

  /// A constant, a root or a pair of signs: with the number behind it, it is none.
  void take_symbol() {
    for (const std::string_view symbol : {"\u03C0", "\u221A", "\u00B1", "\u2213"})
      if (text_.substr(at_).starts_with(symbol)) {
        at_ += symbol.size();
        skip_argument();
        return;
      }
    ++at_;
  }

  /// Behind a function: groups or digits, which leave no number.
  void skip_argument() {
    last_.reset();
    skip_raised_sign();
    skip_blanks();
    while (peek() == '{' || peek() == '[' || peek() == '(')
      if (!skip_group(peek(), peek() == '{' ? '}' : peek() == '[' ? ']' : ')'))
        return;
    at_ += decimal_at_start(text_.substr(at_)).length;
  }

  void skip_raised_sign() {
    if (peek() == '^' || peek() == '_')
      skip_raised();
  }

  /// @returns false, and steps behind the bracket, if it is not closed soon
  bool skip_group(char open, char close) {
    constexpr std::size_t longest_group = 200;
    int depth = 0;
    for (std::size_t end = at_; end < text_.size() && end - at_ < longest_group; ++end) {
      depth += text_[end] == open ? 1 : text_[end] == close ? -1 : 0;
      if (depth == 0) {
        at_ = end + 1;
        return true;
      }
    }
    ++at_;
    return false;
  }

  /// ^2, ^{-1}, ^n, _1 and their like.
  void skip_raised() {
    ++at_;
    skip_blanks();
    if (peek() == '{') {
      skip_group('{', '}');
      return;
    }
    if (peek() == '-')
      ++at_;
    if (is_digit(peek()))
      while (is_digit(peek()))
        ++at_;
    else if (is_letter(peek()))
      ++at_;
  }

  /// Whether a variable or a closed expression stands before the slash here.
  bool follows_variable() const {
    const auto line = before();
    if (line.empty())
      return false;
    if (line.back() == ')' || line.back() == '}' || line.ends_with("\u03C0"))
      return true;
    return last_word(line).size() == 1;
  }

  /// What a variable is divided by is no number by itself.
  void take_divisor() {
    ++at_;
    skip_blanks();
    if (const auto found = number_at_start(text_.substr(at_), hundredth_); found.begins()) {
      at_ += found.length;
      last_.reset();
    }
  }

  std::string_view text_;
  bool hundredth_;
  std::size_t at_ = 0;
  std::optional<exact_number> last_;
};

} // namespace

std::optional<exact_number> last_number(std::string_view plain, bool percent_is_hundredth) {
  return prose_reader(plain, percent_is_hundredth).last();
}

} // namespace millrace::stated
