#include "runtime/stated/expression.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace millrace::stated {
namespace {

using complex_number = std::complex<double>;

constexpr double rounding = std::numeric_limits<double>::epsilon();
constexpr double slack = 64; ///< of the error that was added up
constexpr std::uint64_t points = 24;
constexpr int wanted_points = 4; ///< that decide, of a formula with names

/// The number that stands for a name at a point: between 0.3 and 3.3, at every third point negative.
double value_of_name(std::string_view name, std::uint64_t point) {
  if (name == "\\pi")
    return std::numbers::pi;
  if (name == "e")
    return std::numbers::e;
  std::uint64_t mixed = 0x9E3779B97F4A7C15ULL * (point + 1);
  for (const char c : name)
    mixed = (mixed ^ static_cast<unsigned char>(c)) * 0xBF58476D1CE4E5B9ULL, mixed ^= mixed >> 29;
  mixed = (mixed ^ (mixed >> 31)) * 0x94D049BB133111EBULL;
  const double size = 0.3 + 3.0 * static_cast<double>(mixed >> 11) * 0x1p-53;
  return point % 3 == 2 && (mixed & 1) != 0 ? -size : size;
}

bool is_whole(const complex_number& value) {
  return value.imag() == 0 && value.real() == std::round(value.real()) && std::abs(value.real()) < 1e9;
}

complex_number power_of(const complex_number& base, const complex_number& exponent) {
  if (is_whole(exponent) && std::abs(exponent.real()) <= 1024)
    return std::pow(base, static_cast<int>(exponent.real()));
  if (base == complex_number{})
    return exponent.real() > 0 ? complex_number{} : complex_number(std::nan(""), 0);
  return base.imag() == 0 && base.real() > 0 && exponent.imag() == 0
             ? complex_number(std::pow(base.real(), exponent.real()))
             : std::pow(base, exponent);
}

/// The root of an odd degree of a negative number is negative.
complex_number root_of(const complex_number& degree, const complex_number& of) {
  const bool odd = is_whole(degree) && std::fmod(std::abs(degree.real()), 2.0) == 1.0;
  if (degree == complex_number{})
    return {std::nan(""), 0};
  if (odd && of.imag() == 0 && of.real() < 0)
    return -std::pow(-of.real(), 1 / degree.real());
  if (degree == complex_number{2})
    return of.imag() == 0 && of.real() >= 0 ? complex_number(std::sqrt(of.real())) : std::sqrt(of);
  return power_of(of, 1.0 / degree);
}

complex_number function_of(std::string_view name, const complex_number& x) {
  const bool is_real = x.imag() == 0;
  if (name == "sin")
    return is_real ? std::sin(x.real()) : std::sin(x);
  if (name == "cos")
    return is_real ? std::cos(x.real()) : std::cos(x);
  if (name == "tan")
    return is_real ? std::tan(x.real()) : std::tan(x);
  if (name == "cot")
    return 1.0 / function_of("tan", x);
  if (name == "sec")
    return 1.0 / function_of("cos", x);
  if (name == "csc")
    return 1.0 / function_of("sin", x);
  if (name == "arcsin")
    return is_real && std::abs(x.real()) <= 1 ? std::asin(x.real()) : std::asin(x);
  if (name == "arccos")
    return is_real && std::abs(x.real()) <= 1 ? std::acos(x.real()) : std::acos(x);
  if (name == "arctan")
    return is_real ? std::atan(x.real()) : std::atan(x);
  if (name == "sinh")
    return is_real ? std::sinh(x.real()) : std::sinh(x);
  if (name == "cosh")
    return is_real ? std::cosh(x.real()) : std::cosh(x);
  if (name == "tanh")
    return is_real ? std::tanh(x.real()) : std::tanh(x);
  if (name == "exp")
    return std::exp(x);
  if (x == complex_number{})
    return {std::nan(""), 0};
  return is_real && x.real() > 0 ? std::log(x.real()) : std::log(x); // ln
}

double factorial_of(const complex_number& n) {
  return is_whole(n) && n.real() >= 0 && n.real() <= 170 ? std::round(std::tgamma(n.real() + 1)) : std::nan("");
}

double binomial_of(const complex_number& n, const complex_number& k) {
  if (!is_whole(n) || !is_whole(k) || k.real() < 0 || n.real() < k.real() || n.real() > 1000)
    return std::nan("");
  double chosen = 1;
  for (double i = 1; i <= k.real(); ++i)
    chosen = std::round(chosen * (n.real() - k.real() + i) / i);
  return chosen;
}

bool is_finite(const complex_number& value) {
  return std::isfinite(value.real()) && std::isfinite(value.imag());
}

double relative(double error, const complex_number& value) {
  const double size = std::abs(value);
  return size > 0 ? error / size : 0;
}

} // namespace

expression::rounded_value expression::value_of(const part& p, const std::vector<rounded_value>& done,
                                               std::uint64_t point) {
  static constexpr rounded_value none;
  const rounded_value& a = p.what == operation::number || p.what == operation::name ? none : done[p.left];
  const rounded_value& b = p.what == operation::number || p.what == operation::name ? none : done[p.right];
  const double shares = relative(a.error, a.value) + relative(b.error, b.value);
  const auto with = [](complex_number value, double error) {
    return rounded_value{value, error + rounding * std::abs(value)};
  };
  const auto scaled = [&](complex_number value, double factor) {
    return with(value, std::abs(value) * shares * factor);
  };
  switch (p.what) {
  case operation::number:
    return with(p.rounded, 0);
  case operation::name:
    return with(p.word == "i" ? complex_number(0, 1) : complex_number(value_of_name(p.word, point)), 0);
  case operation::sum:
    return with(a.value + b.value, a.error + b.error);
  case operation::product:
    return with(a.value * b.value, std::abs(a.value) * b.error + std::abs(b.value) * a.error);
  case operation::quotient:
    return scaled(b.value == complex_number{} ? complex_number(std::nan(""), 0) : a.value / b.value, 1);
  case operation::power:
    return scaled(power_of(a.value, b.value), 1 + std::abs(b.value) * (1 + std::abs(std::log(std::abs(a.value) + 1))));
  case operation::negative:
    return {complex_number{} - a.value, a.error}; // without a negative 0, which would turn roots around
  case operation::root:
    return scaled(root_of(a.value, b.value), 1);
  case operation::function: {
    const complex_number value = function_of(p.word, a.value);
    return with(value, a.error * (1 + std::abs(value) + relative(std::abs(value), a.value)));
  }
  case operation::factorial:
    return scaled(factorial_of(a.value), 1);
  case operation::binomial:
    return scaled(binomial_of(a.value, b.value), 1);
  case operation::magnitude:
    return with(std::abs(a.value), a.error);
  }
  return none;
}

std::optional<exact_number> expression::exact() const {
  std::vector<std::optional<exact_number>> done;
  for (const part& p : parts_) {
    std::optional<exact_number> value;
    const auto* const a = p.left < done.size() && done[p.left] ? &*done[p.left] : nullptr;
    const auto* const b = p.right < done.size() && done[p.right] ? &*done[p.right] : nullptr;
    if (p.what == operation::number)
      value = p.exact;
    else if (p.what == operation::negative && a)
      value = -*a;
    else if (p.what == operation::sum && a && b)
      value = a->plus(*b);
    else if (p.what == operation::product && a && b)
      value = a->times(*b);
    else if (p.what == operation::quotient && a && b)
      value = a->over(*b);
    else if (p.what == operation::power && a && b)
      value = a->to_the(*b);
    done.push_back(std::move(value));
  }
  return done.back();
}

std::optional<expression::rounded_value> expression::at(std::uint64_t point, domain numbers) const {
  std::vector<rounded_value> done;
  for (const part& p : parts_) {
    const auto value = value_of(p, done, point);
    if (!is_finite(value.value) || !std::isfinite(value.error))
      return std::nullopt;
    if (numbers == domain::real && std::abs(value.value.imag()) > 1e-9 * std::abs(value.value))
      return std::nullopt;
    done.push_back(value);
  }
  return done.back();
}

bool expression::is_complex() const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](const part& p) { return p.what == operation::name && p.word == "i"; });
}

std::string expression::name() const {
  const bool is_constant = parts_.back().word == "e" || parts_.back().word == "i" || parts_.back().word == "\\pi";
  return parts_.size() == 1 && parts_[0].what == operation::name && !is_constant ? parts_[0].word : std::string();
}

bool is_equal(const expression& left, const expression& right) {
  const auto a = left.exact(), b = right.exact();
  if (a && b)
    return *a == *b;
  using domain = expression::domain;
  const domain first = left.is_complex() || right.is_complex() ? domain::complex : domain::real;
  for (const domain numbers : {first, domain::complex}) {
    int compared = 0;
    for (std::uint64_t point = 0; point < points; ++point) {
      const auto x = left.at(point, numbers), y = right.at(point, numbers);
      if (!x || !y)
        continue;
      if (!(std::abs(x->value - y->value) <= slack * (x->error + y->error)))
        return false;
      ++compared;
    }
    if (compared >= wanted_points)
      return true;
  }
  return false;
}

bool is_same_relation(const expression& a, const expression& b, const expression& c, const expression& d,
                      bool sign_counts) {
  using domain = expression::domain;
  const bool complex = a.is_complex() || b.is_complex() || c.is_complex() || d.is_complex();
  const domain numbers = complex ? domain::complex : domain::real;
  std::optional<complex_number> ratio;
  int compared = 0;
  for (std::uint64_t point = 0; point < points; ++point) {
    const auto w = a.at(point, numbers), x = b.at(point, numbers), y = c.at(point, numbers), z = d.at(point, numbers);
    if (!w || !x || !y || !z)
      continue;
    const complex_number f = w->value - x->value, g = y->value - z->value;
    const double f_error = slack * (w->error + x->error), g_error = slack * (y->error + z->error);
    const bool f_is_zero = std::abs(f) <= f_error, g_is_zero = std::abs(g) <= g_error;
    if (f_is_zero != g_is_zero)
      return false;
    if (f_is_zero)
      continue;
    const complex_number here = f / g;
    const double error = std::abs(here) * (f_error / std::abs(f) + g_error / std::abs(g));
    if (ratio && std::abs(here - *ratio) > 4 * error)
      return false;
    ratio = ratio ? ratio : here;
    ++compared;
  }
  return compared >= wanted_points && (!sign_counts || ratio->real() > 0);
}

} // namespace millrace::stated
