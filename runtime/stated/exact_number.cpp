#include "runtime/stated/exact_number.hpp"

#include <algorithm>
#include <cstdlib>

namespace millrace::stated {
namespace {

using big_integer = boost::multiprecision::cpp_int;

constexpr std::int64_t most_bits_of_power = 8192; ///< so that a text full of powers takes no long time
constexpr std::int64_t longest_row_of_zeros = 20; ///< of a number that is written without an exponent

std::int64_t bits_of(const big_integer& value) {
  return value == 0 ? 0 : static_cast<std::int64_t>(boost::multiprecision::msb(value)) + 1;
}

std::int64_t take_twos(big_integer& value) {
  const auto twos = boost::multiprecision::lsb(value);
  value >>= twos;
  return static_cast<std::int64_t>(twos);
}

std::int64_t take_fives(big_integer& value) {
  std::int64_t fives = 0;
  big_integer quotient, rest;
  for (;; ++fives) {
    boost::multiprecision::divide_qr(value, big_integer(5), quotient, rest);
    if (rest != 0)
      return fives;
    value = quotient;
  }
}

/// 2^twos * 5^fives, both >= 0
big_integer powers(std::int64_t twos, std::int64_t fives) {
  return boost::multiprecision::pow(big_integer(5), static_cast<unsigned>(fives)) << static_cast<unsigned>(twos);
}

} // namespace

std::optional<exact_number> exact_number::reduced(bool negative, integer above, integer below, std::int64_t twos,
                                                  std::int64_t fives) {
  exact_number out;
  if (above == 0)
    return out;
  twos += take_twos(above) - take_twos(below);
  fives += take_fives(above) - take_fives(below);
  const integer common = boost::multiprecision::gcd(above, below);
  out.negative_ = negative;
  out.above_ = above / common;
  out.below_ = below / common;
  out.twos_ = twos;
  out.fives_ = fives;
  if (std::max({bits_of(out.above_), bits_of(out.below_), std::abs(twos), std::abs(fives)}) > most_bits)
    return std::nullopt;
  return out;
}

std::optional<exact_number> exact_number::of_decimal(std::string_view digits, std::int64_t exponent) {
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.empty())
    return exact_number();
  return reduced(false, integer(std::string(digits)), 1, exponent, exponent);
}

exact_number exact_number::operator-() const {
  exact_number out = *this;
  out.negative_ = !negative_ && !is_zero();
  return out;
}

std::optional<exact_number> exact_number::plus(const exact_number& other) const {
  if (is_zero() || other.is_zero())
    return is_zero() ? other : *this;
  const std::int64_t twos = std::min(twos_, other.twos_), fives = std::min(fives_, other.fives_);
  integer a = above_ * other.below_ * powers(twos_ - twos, fives_ - fives);
  integer b = other.above_ * below_ * powers(other.twos_ - twos, other.fives_ - fives);
  integer sum = (negative_ ? -a : a) + (other.negative_ ? -b : b);
  return reduced(sum < 0, abs(sum), below_ * other.below_, twos, fives);
}

std::optional<exact_number> exact_number::times(const exact_number& other) const {
  return reduced(negative_ != other.negative_, above_ * other.above_, below_ * other.below_, twos_ + other.twos_,
                 fives_ + other.fives_);
}

std::optional<exact_number> exact_number::over(const exact_number& other) const {
  if (other.is_zero())
    return std::nullopt;
  return reduced(negative_ != other.negative_, above_ * other.below_, below_ * other.above_, twos_ - other.twos_,
                 fives_ - other.fives_);
}

std::optional<exact_number> exact_number::to_the(const exact_number& power) const {
  if (power.below_ != 1 || power.twos_ < 0 || power.fives_ < 0 || power.twos_ > 16 || power.fives_ > 16)
    return std::nullopt;
  const integer size = power.above_ * powers(power.twos_, power.fives_);
  if (size > most_bits || (is_zero() && (power.negative_ || size == 0)))
    return std::nullopt;
  const auto n = size.convert_to<std::int64_t>();
  if (is_zero())
    return *this;
  if (std::max(bits_of(above_) - 1, bits_of(below_) - 1) * n > most_bits_of_power
      || std::max(std::abs(twos_), std::abs(fives_)) * n > most_bits)
    return std::nullopt;
  exact_number out;
  out.negative_ = negative_ && n % 2 == 1;
  out.above_ = boost::multiprecision::pow(above_, static_cast<unsigned>(n));
  out.below_ = boost::multiprecision::pow(below_, static_cast<unsigned>(n));
  out.twos_ = twos_ * n;
  out.fives_ = fives_ * n;
  return power.negative_ ? *exact_number::of_decimal("1", 0)->over(out) : out;
}

bool exact_number::is_proper() const {
  return above_ * powers(std::max<std::int64_t>(twos_, 0), std::max<std::int64_t>(fives_, 0))
         < below_ * powers(std::max<std::int64_t>(-twos_, 0), std::max<std::int64_t>(-fives_, 0));
}

std::string exact_number::canonical() const {
  const std::string sign = negative_ ? "-" : "";
  if (below_ != 1)
    return sign
           + (above_ * powers(std::max<std::int64_t>(twos_, 0), std::max<std::int64_t>(fives_, 0)))
                 .convert_to<std::string>()
           + '/'
           + (below_ * powers(std::max<std::int64_t>(-twos_, 0), std::max<std::int64_t>(-fives_, 0)))
                 .convert_to<std::string>();
  const std::int64_t exponent = std::min(twos_, fives_);
  auto digits = (above_ * powers(twos_ - exponent, fives_ - exponent)).convert_to<std::string>();
  if (std::abs(exponent) > longest_row_of_zeros)
    return sign + digits + 'e' + std::to_string(exponent);
  if (exponent >= 0)
    return sign + digits + std::string(static_cast<std::size_t>(exponent), '0');
  const auto places = static_cast<std::size_t>(-exponent);
  if (digits.size() <= places)
    digits.insert(0, places + 1 - digits.size(), '0');
  return sign + digits.insert(digits.size() - places, 1, '.');
}

} // namespace millrace::stated
