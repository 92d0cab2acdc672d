#include "runtime/words/byte_count.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace millrace {
namespace {

constexpr double most_bytes = 9007199254740992; // 2^53

constexpr std::array<std::pair<std::string_view, std::int64_t>, 9> units{{{"B", 1},
                                                                          {"kB", 1000},
                                                                          {"MB", 1000000},
                                                                          {"GB", 1000000000},
                                                                          {"TB", 1000000000000},
                                                                          {"KiB", std::int64_t{1} << 10},
                                                                          {"MiB", std::int64_t{1} << 20},
                                                                          {"GiB", std::int64_t{1} << 30},
                                                                          {"TiB", std::int64_t{1} << 40}}};

bool is_same_word(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

} // namespace

std::optional<byte_count> byte_count_of(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !(number >= 0))
    return std::nullopt;
  std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  unit.remove_prefix(std::min(unit.find_first_not_of(' '), unit.size()));
  for (const auto& [name, size] : units)
    if (is_same_word(name, unit)) {
      const double bytes = std::floor(number * static_cast<double>(size));
      return bytes <= most_bytes ? std::optional(byte_count{static_cast<std::int64_t>(bytes)}) : std::nullopt;
    }
  return std::nullopt;
}

std::string in_words(byte_count count) {
  std::string_view name = "B";
  std::int64_t of = 1;
  for (const auto& [unit, size] : units)
    if (count.bytes != 0 && count.bytes % size == 0 && size > of) {
      name = unit;
      of = size;
    }
  return std::to_string(count.bytes / of) + ' ' + std::string(name);
}

} // namespace millrace
