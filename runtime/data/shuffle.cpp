#include "runtime/data/shuffle.hpp"

#include "runtime/words/mix_bits.hpp"

#include <numeric>
#include <utility>

namespace millrace::data {

std::uint64_t drawn(std::uint64_t seed, std::uint64_t index) {
  return mix_bits(splitmix64(seed) + (index + 1) * golden_step);
}

std::uint64_t drawn_below(std::uint64_t seed, std::uint64_t index, std::uint64_t bound) {
  __extension__ using wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<wide>(drawn(seed, index)) * bound) >> 64);
}

std::vector<std::uint64_t> shuffled(std::uint64_t count, std::uint64_t seed, std::uint64_t epoch) {
  std::vector<std::uint64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  const std::uint64_t epoch_seed = drawn(seed, epoch);
  for (std::uint64_t i = count; i > 1; --i)
    std::swap(order[i - 1], order[drawn_below(epoch_seed, i, i)]);
  return order;
}

} // namespace millrace::data
