#include "runtime/stated/characters.hpp"
#include "runtime/stated/expression.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace millrace::stated {
namespace {

constexpr std::size_t longest_text = 1024, most_parts = 512;
constexpr int most_levels = 48;

constexpr std::array<std::string_view, 15> functions{"arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "sin", "cos",
                                                     "tan",    "cot",    "sec",    "csc",  "exp",  "ln",   "log"};

constexpr std::array<std::string_view, 27> greek{"alpha", "beta",  "gamma", "delta", "epsilon", "varepsilon", "zeta",
                                                 "eta",   "theta", "iota",  "kappa", "lambda",  "mu",         "nu",
                                                 "xi",    "rho",   "sigma", "tau",   "phi",     "varphi",     "chi",
                                                 "psi",   "omega", "Delta", "infty", "Phi",     "ell"};

template <class List>
bool has(const List& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

/// From "-2/3", "0.75" or "1e400".
double as_double(const exact_number& number) {
  const std::string text = number.canonical();
  const std::size_t slash = text.find('/');
  const double above = std::strtod(text.c_str(), nullptr);
  return slash == std::string::npos ? above : above / std::strtod(text.c_str() + slash + 1, nullptr);
}

} // namespace

/// Reads sums of products of powers, from left to right. Each function returns the place of what it read, or nothing.
class expression_reader {
public:
  using place = std::optional<std::size_t>;
  using operation = expression::operation;

  explicit expression_reader(std::string_view text) : text_(text) {}

  std::optional<expression> whole() {
    const place all = sum();
    skip_blanks();
    if (!all || at_ < text_.size() || *all + 1 != made_.parts_.size())
      return std::nullopt;
    return std::move(made_);
  }

private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void skip_blanks() {
    while (peek() == ' ')
      ++at_;
  }

  bool take(std::string_view word) {
    skip_blanks();
    if (!text_.substr(at_).starts_with(word))
      return false;
    if (word.size() > 1 && is_letter(word.back()) && is_letter(peek(word.size())))
      return false;
    at_ += word.size();
    return true;
  }

  place add(expression::part p) {
    if (made_.parts_.size() >= most_parts)
      return std::nullopt;
    made_.parts_.push_back(std::move(p));
    return made_.parts_.size() - 1;
  }

  place join(operation what, place left, place right, std::string word = {}) {
    if (!left || !right)
      return std::nullopt;
    return add({.what = what, .word = std::move(word), .left = *left, .right = *right});
  }

  place number(double value) {
    const auto exact = exact_number::of_decimal(std::to_string(static_cast<int>(value)), 0);
    return add({.what = operation::number, .exact = exact, .rounded = value});
  }

  place sum() {
    if (++level_ > most_levels)
      return std::nullopt;
    place left = signed_product();
    while (left) {
      if (take("+"))
        left = join(operation::sum, left, signed_product());
      else if (take("-"))
        left = join(operation::sum, left, negative(signed_product()));
      else
        break;
    }
    --level_;
    return left;
  }

  place negative(place of) { return join(operation::negative, of, of); }

  place signed_product() {
    bool is_negative = false;
    int signs = 0;
    for (;; ++signs)
      if (take("-"))
        is_negative = !is_negative;
      else if (!take("+"))
        break;
    if (signs > 2)
      return std::nullopt;
    const place of = product();
    return is_negative ? negative(of) : of;
  }

  place product() {
    place left = power();
    while (left) {
      if (take("*"))
        left = join(operation::product, left, signed_power());
      else if (take("/"))
        left = join(operation::quotient, left, signed_power());
      else if (const bool mixed = is_mixed(*left); begins_factor())
        left = join(mixed ? operation::sum : operation::product, left, power());
      else
        break;
    }
    return left;
  }

  place signed_power() {
    const bool is_negative = take("-");
    const place of = power();
    return is_negative ? negative(of) : of;
  }

  /// Whether a fraction of two integers stands behind an integer: 2\frac{1}{2}, 2 1/2.
  bool is_mixed(std::size_t left) {
    if (left + 1 != made_.parts_.size() || made_.parts_[left].what != operation::number || !is_digit(last_digit_))
      return false;
    skip_blanks();
    std::size_t ahead = at_;
    const auto digits = [&] {
      const std::size_t begin = ahead;
      while (ahead < text_.size() && is_digit(text_[ahead]))
        ++ahead;
      return ahead > begin;
    };
    if (!text_.substr(at_).starts_with("\\frac"))
      return digits() && ahead < text_.size() && text_[ahead] == '/' && ++ahead > 0 && digits();
    ahead += 5;
    if (ahead + 1 < text_.size() && is_digit(text_[ahead]) && is_digit(text_[ahead + 1]))
      return true;
    for (int braces = 0; braces < 2; ++braces) {
      if (ahead >= text_.size() || text_[ahead++] != '{' || !digits() || ahead >= text_.size() || text_[ahead++] != '}')
        return false;
    }
    return true;
  }

  bool begins_factor() {
    skip_blanks();
    const char c = peek();
    if (c == '\\') {
      const std::size_t begin = at_;
      const std::string word = command();
      at_ = begin;
      return word == "frac" || word == "sqrt" || word == "pi" || word == "binom" || has(greek, word)
             || has(functions, word) || word == "operatorname";
    }
    return c == '(' || c == '{' || c == '[' || is_letter(c) || is_digit(c);
  }

  place power() {
    place base = postfixed(primary());
    skip_blanks();
    if (base && take("^"))
      base = join(operation::power, base, argument());
    return postfixed(base);
  }

  place postfixed(place of) {
    while (of && peek() == '!' && peek(1) != '=') {
      ++at_;
      of = join(operation::factorial, of, of);
    }
    if (of && text_.substr(at_).starts_with("\u00B0"))
      at_ += 2; // degrees: a unit
    return of;
  }

  /// What stands behind ^, \frac or \sqrt: braces, or one character, or one command; a signed number behind ^.
  place argument() {
    if (++level_ > most_levels)
      return std::nullopt;
    skip_blanks();
    place found;
    if (peek() == '{' || peek() == '(')
      found = primary();
    else if (peek() == '-')
      found = (++at_, negative(argument()));
    else if (is_digit(peek()))
      found = number(text_[at_++] - '0');
    else
      found = primary();
    --level_;
    return found;
  }

  place primary() {
    if (++level_ > most_levels)
      return std::nullopt;
    skip_blanks();
    last_digit_ = '\0';
    const char c = peek();
    place found;
    if (is_digit(c) || (c == '.' && is_digit(peek(1))))
      found = decimal();
    else if (c == '(' || c == '{' || c == '[')
      found = grouped(c == '(' ? ")" : c == '{' ? "}" : "]");
    else if (c == '|')
      found = magnitude();
    else if (c == '\\')
      found = commanded(command());
    else if (is_letter(c))
      found = named();
    --level_;
    return found;
  }

  place grouped(std::string_view close) {
    ++at_;
    const place inside = sum();
    return inside && take(close) ? inside : std::nullopt;
  }

  place magnitude() {
    ++at_;
    const place inside = sum();
    return inside && take("|") ? join(operation::magnitude, inside, inside) : std::nullopt;
  }

  place decimal() {
    std::string digits;
    std::int64_t exponent = 0;
    const auto take_digits = [&] {
      while (is_digit(peek()))
        digits += text_[at_++];
    };
    take_digits();
    const auto is_thousands = [&] {
      return peek() == ',' && is_digit(peek(1)) && is_digit(peek(2)) && is_digit(peek(3)) && !is_digit(peek(4));
    };
    if (digits.size() <= 3)
      while (is_thousands()) {
        ++at_;
        take_digits();
      }
    last_digit_ = digits.empty() ? '\0' : digits.back();
    if (peek() == '.' && (is_digit(peek(1)) || text_.substr(at_).starts_with(".\\overline{"))) {
      ++at_;
      const std::size_t whole = digits.size();
      take_digits();
      exponent = -static_cast<std::int64_t>(digits.size() - whole);
      last_digit_ = '\0';
    }
    auto exact = exact_number::of_decimal(digits, exponent);
    double rounded = std::strtod((digits + "e" + std::to_string(exponent)).c_str(), nullptr);
    if (exact && text_.substr(at_).starts_with("\\overline{"))
      if (const auto more = repeated(exponent)) {
        exact = exact->plus(*more);
        rounded = exact ? as_double(*exact) : rounded;
      }
    return add({.what = operation::number, .exact = std::move(exact), .rounded = rounded});
  }

  /// The value of \overline{3} behind so many decimals: 3 / (10^decimals * 9).
  std::optional<exact_number> repeated(std::int64_t exponent) {
    const std::size_t begin = at_ + std::string_view("\\overline{").size();
    const std::size_t end = text_.find('}', begin);
    if (end == std::string_view::npos || end == begin || end - begin > 64)
      return std::nullopt;
    const std::string digits(text_.substr(begin, end - begin));
    if (!std::all_of(digits.begin(), digits.end(), is_digit))
      return std::nullopt;
    at_ = end + 1;
    const auto above = exact_number::of_decimal(digits, exponent);
    const auto below = exact_number::of_decimal(std::string(digits.size(), '9'), 0);
    return above && below ? above->over(*below) : std::nullopt;
  }

  std::string command() {
    skip_blanks();
    std::string word;
    for (++at_; is_letter(peek()); ++at_)
      word += text_[at_];
    return word;
  }

  place commanded(const std::string& word) {
    if (word == "frac" || word == "binom") {
      const place above = argument(), below = argument();
      return join(word == "frac" ? operation::quotient : operation::binomial, above, below);
    }
    if (word == "sqrt") {
      skip_blanks();
      const place degree = peek() == '[' ? grouped("]") : number(2);
      return join(operation::root, degree, argument());
    }
    if (has(functions, word))
      return applied(word);
    if (word == "pi")
      return add({.what = operation::name, .word = "\\pi"});
    return has(greek, word) ? indexed("\\" + word) : std::nullopt;
  }

  /// A function and what it is applied to: \sin^2 x, \log_2 8, \cos(2x).
  place applied(const std::string& word) {
    place base, exponent;
    if (take("_"))
      base = argument();
    if (take("^"))
      exponent = argument();
    skip_blanks();
    place of;
    if (peek() == '(' || peek() == '{' || peek() == '[')
      of = power();
    else
      for (of = power(); of && begins_factor() && !begins_function();)
        of = join(operation::product, of, power());
    place value = join(operation::function, of, of, word == "log" ? "ln" : word);
    if (base || word == "log") { // without a base that of the decimal logarithm
      base = base ? base : number(10);
      value = join(operation::quotient, value, join(operation::function, base, base, "ln"));
    }
    return exponent ? join(operation::power, value, exponent) : value;
  }

  bool begins_function() {
    skip_blanks();
    if (peek() != '\\')
      return has(functions, word_here());
    const std::size_t begin = at_;
    const std::string word = command();
    at_ = begin;
    return has(functions, word);
  }

  std::string_view word_here() const {
    std::size_t end = at_;
    while (end < text_.size() && is_letter(text_[end]))
      ++end;
    return text_.substr(at_, end - at_);
  }

  /// One letter and its index, or the name of a function, or `pi`, `sqrt`. Three letters and more are a word.
  place named() {
    const std::string word(word_here());
    if (word == "pi" || word == "sqrt" || has(functions, word)) {
      at_ += word.size();
      return commanded(word);
    }
    if (word.size() > 3 || (word.size() == 3 && !is_product_of_names(word)))
      return std::nullopt;
    return indexed(std::string(1, text_[at_++]));
  }

  static bool is_product_of_names(std::string_view word) {
    return word == "xyz" || word == "abc" || word == "abx" || word == "axy" || word == "pqr" || word == "rst";
  }

  place indexed(std::string name) {
    if (peek() == '_') {
      ++at_;
      const std::size_t end = peek() == '{' ? text_.find('}', at_) : at_;
      if (end >= text_.size())
        return std::nullopt;
      name += '_';
      for (; at_ <= end; ++at_)
        if (is_letter(text_[at_]) || is_digit(text_[at_]))
          name += text_[at_];
    }
    return add({.what = operation::name, .word = std::move(name)});
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int level_ = 0;
  char last_digit_ = '\0'; ///< of the integer that was just read
  expression made_;
};

std::optional<expression> expression::read(std::string_view plain) {
  if (plain.empty() || plain.size() > longest_text)
    return std::nullopt;
  return expression_reader(plain).whole();
}

} // namespace millrace::stated
