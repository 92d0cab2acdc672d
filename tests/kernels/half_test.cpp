#include "kernels/half.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

namespace half_test {

using namespace millrace::kernels;

TEST_CASE("half: the next one upwards; at 1 they are 1/1024 apart, below 2^-14 2^-24") {
  CHECK(half_at_least(1).bits == 0x3c00);
  CHECK(widened(half_at_least(1 + 1.0f / 4096)) == 1 + 1.0f / 1024);
  CHECK(widened(half_at_least(1 + 1.0f / 1024)) == 1 + 1.0f / 1024);
  CHECK(widened(half_at_least(0x1.8p-24f)) == 0x1p-23f);
  CHECK(widened(half_at_least(0x1p-30f)) == 0x1p-24f);
  CHECK(half_at_least(0).bits == 0);
  CHECK(widened(half_at_least(0x1.fffp-15f)) == 0x1p-14f);
  CHECK(widened(half_at_least(65504)) == 65504);
  CHECK(half_at_least(65505).bits == 0x7c00);
  CHECK(half_at_least(std::numeric_limits<float>::infinity()).bits == 0x7c00);
  CHECK(half_at_least(std::numeric_limits<float>::quiet_NaN()).bits == 0x7c00);
}

TEST_CASE("half: what is one already stays as it is, and what lies above it goes to the next") {
  for (std::uint16_t bits = 0; bits < 0x7bff; ++bits) {
    const half one{bits}, next{static_cast<std::uint16_t>(bits + 1)};
    REQUIRE(half_at_least(widened(one)).bits == bits);
    REQUIRE(half_at_least(std::nextafter(widened(one), 1e9f)).bits == next.bits);
    REQUIRE(widened(one) < widened(next));
  }
}

} // namespace half_test
