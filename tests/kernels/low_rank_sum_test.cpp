#include "kernels/low_rank_sum.hpp"
#include "tests/kernels/random_floats.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>

namespace low_rank_sum_test {

using namespace millrace::kernels;
using millrace::test::instruction_sets_here;
using millrace::test::random_floats;

namespace {

struct operands {
  std::int64_t rows, columns, rank;
  std::vector<float> w = random_floats(rows * columns, 1);
  std::vector<float> b = random_floats(rows * rank, 2);
  std::vector<float> a = random_floats(rank * columns, 3);

  low_rank_sum_args into(std::vector<float>& y) const {
    y.resize(w.size());
    return {.w = w.data(), .b = b.data(), .a = a.data(), .y = y.data(), .rows = rows, .columns = columns, .rank = rank};
  }
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(
      a, b, [](float x, float y) { return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y); });
}

} // namespace

TEST_CASE("low rank sum: (1, 2) and (3, 4) with the product of (1, -1) and (10, 20), and rank 0 changes nothing") {
  const std::vector<float> w{1, 2, 3, 4}, b{1, -1}, a{10, 20};
  for (const auto set : instruction_sets_here()) {
    std::vector<float> y(4);
    low_rank_sum({.w = w.data(), .b = b.data(), .a = a.data(), .y = y.data(), .rows = 2, .columns = 2, .rank = 1}, set);
    CHECK(y == std::vector<float>{11, 22, -7, -16});
    low_rank_sum({.w = w.data(), .b = b.data(), .a = a.data(), .y = y.data(), .rows = 2, .columns = 2, .rank = 0}, set);
    CHECK(y == w);
  }
}

TEST_CASE("low rank sum: it is rounded once. 1 + 2^-24 + 2^-24 is a float above 1, though each half is lost") {
  const float half = 0x1p-24f;
  const std::vector<float> w{1}, b{1, 1}, a{half, half};
  std::vector<float> y(1);
  low_rank_sum({.w = w.data(), .b = b.data(), .a = a.data(), .y = y.data(), .rows = 1, .columns = 1, .rank = 2});
  CHECK(y[0] == 1 + 0x1p-23f);
}

TEST_CASE("low rank sum: fused or not, in any instruction set and in place, the bits are the same") {
  for (const std::int64_t columns : {0, 1, 7, 8, 31, 32, 33, 576})
    for (const std::int64_t rank : {1, 3, 8, 64}) {
      CAPTURE(columns);
      CAPTURE(rank);
      const operands given{.rows = 5, .columns = columns, .rank = rank};
      std::vector<float> want, fused(given.w.size());
      low_rank_sum_reference(given.into(want));
      for (std::int64_t i = 0; i < std::ssize(given.w); ++i) {
        double sum = given.w[static_cast<std::size_t>(i)];
        for (std::int64_t r = 0; r < rank; ++r)
          sum = std::fma(static_cast<double>(given.b[static_cast<std::size_t>(i / columns * rank + r)]),
                         static_cast<double>(given.a[static_cast<std::size_t>(r * columns + i % columns)]), sum);
        fused[static_cast<std::size_t>(i)] = static_cast<float>(sum);
      }
      CHECK(same_bits(fused, want));
      for (const auto set : instruction_sets_here()) {
        std::vector<float> got, there = given.w;
        low_rank_sum(given.into(got), set);
        CHECK(same_bits(got, want));
        auto in_place = given.into(got);
        in_place.w = in_place.y = there.data();
        low_rank_sum(in_place, set);
        CHECK(same_bits(there, want));
      }
    }
}

TEST_CASE("low rank sum: negative sizes are refused") {
  CHECK_THROWS_AS(
      low_rank_sum({.w = nullptr, .b = nullptr, .a = nullptr, .y = nullptr, .rows = -1, .columns = 1, .rank = 1}),
      std::invalid_argument);
}

} // namespace low_rank_sum_test
