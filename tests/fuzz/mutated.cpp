#include "tests/fuzz/readers.hpp"
#include "tests/support/mutations.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <random>
#include <string_view>

namespace millrace::fuzz {
namespace {

/// Pieces that some format reads in its own way, and values at its limits.
constexpr std::array<std::string_view, 52> pieces{"[",
                                                  "]",
                                                  "{",
                                                  "}",
                                                  "[[",
                                                  "{\"a\":",
                                                  "\"",
                                                  "'",
                                                  "\"\"\"",
                                                  "'''",
                                                  ",",
                                                  ":",
                                                  "=",
                                                  ".",
                                                  "#",
                                                  "\n",
                                                  "\r\n",
                                                  "\\",
                                                  "\\u0000",
                                                  "\\ud800",
                                                  "null",
                                                  "true",
                                                  "[]",
                                                  "{}",
                                                  "\"\"",
                                                  "0",
                                                  "-1",
                                                  "-0.0",
                                                  "1e308",
                                                  "-1e308",
                                                  "1e-320",
                                                  "1e999",
                                                  "nan",
                                                  "NaN",
                                                  "Infinity",
                                                  "2147483648",
                                                  "4294967295",
                                                  "9223372036854775807",
                                                  "-9223372036854775808",
                                                  "18446744073709551615",
                                                  "{{",
                                                  "{%",
                                                  "{#",
                                                  "-}}",
                                                  "\x1b[2J",
                                                  "\xff",
                                                  "\xc2\x9b",
                                                  "\xf0\x9f\x98\x80",
                                                  "(a+)+$",
                                                  "[^",
                                                  "../",
                                                  "/dev/null"};

/// Of an input. What is read in proportion to it is then read in a fraction of the time that it may take.
constexpr std::size_t most_bytes = 256 << 10;

class mutator {
public:
  explicit mutator(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random_() % n); }

  /// Of a text, a bit more often near its start: there a binary file keeps what it says about the rest.
  std::size_t place(const std::string& text) {
    return below(2) == 0 ? below(std::min<std::size_t>(text.size(), 2048)) : below(text.size());
  }

  /// Where a number stands in the text, and how long it is; a random place if none does.
  std::pair<std::size_t, std::size_t> number_in(const std::string& text) {
    constexpr const char* digits = "0123456789";
    const auto begin = text.find_first_of(digits, place(text));
    if (begin == std::string::npos)
      return {place(text), 0};
    const auto end = text.find_first_not_of(digits, begin);
    return {begin, (end == std::string::npos ? text.size() : end) - begin};
  }

  std::string piece() { return std::string(pieces.at(below(pieces.size()))); }

  /// A part of the text again and again: deep nesting, long lists, long strings, large files.
  void repeat(std::string& text) {
    const std::size_t at = place(text);
    const std::string part = below(2) == 0 ? piece() : text.substr(at, 1 + below(64));
    const std::size_t most = below(16) == 0 ? most_bytes : 4096;
    std::string many;
    for (std::size_t bytes = below(most); many.size() < bytes && !part.empty();)
      many += part;
    text.insert(at, many);
  }

  void injure(std::string& text, const std::string& other) {
    std::mt19937 small(static_cast<std::uint32_t>(random_()));
    switch (below(8)) {
    case 0:
      text = tests::injured(std::move(text), small);
      break;
    case 1: {
      const std::size_t head = std::min<std::size_t>(text.size(), 256);
      text = tests::injured(text.substr(0, head), small) + text.substr(head);
      break;
    }
    case 2:
    case 3: {
      const auto [at, length] = number_in(text);
      text.replace(at, length, piece());
      break;
    }
    case 4:
      text.insert(place(text), piece());
      break;
    case 5:
      text.replace(place(text), below(16), other.substr(below(other.size()), below(64)));
      break;
    case 6:
      text = text.substr(0, place(text)) + other.substr(below(other.size()));
      break;
    default:
      repeat(text);
    }
  }

private:
  std::mt19937_64 random_;
};

} // namespace

std::string mutated(const reader& of, std::uint64_t number) {
  const auto seed = std::accumulate(of.name.begin(), of.name.end(), std::uint64_t{0}, [](std::uint64_t sum, char c) {
    return sum * 131 + static_cast<unsigned char>(c);
  });
  mutator with(seed ^ (number * 0x9E3779B97F4A7C15u));
  std::string text = of.whole.at(with.below(of.whole.size()));
  for (auto injuries = 1 + with.below(2) * with.below(6); injuries > 0; --injuries)
    with.injure(text, of.whole.at(with.below(of.whole.size())));
  text.resize(std::min(text.size(), most_bytes));
  return text;
}

} // namespace millrace::fuzz
