#include "kernels/bfloat16.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

namespace bfloat16_test {

using namespace millrace::kernels;

TEST_CASE("bfloat16: the nearest one, of two equally near the even one; at 1 they are 1/128 apart") {
  CHECK(widened(rounded(1 + 1.0f / 512)) == 1);
  CHECK(widened(rounded(1 + 1.0f / 256)) == 1);
  CHECK(widened(rounded(1 + 1.0f / 256 + 1.0f / 4096)) == 1 + 1.0f / 128);
  CHECK(widened(rounded(1 + 3.0f / 256)) == 1 + 2.0f / 128);
  CHECK(widened(rounded(-1 - 3.0f / 256)) == -1 - 2.0f / 128);
}

TEST_CASE("bfloat16: zeros keep their sign, NaN stays NaN, what is too large is infinite") {
  CHECK(rounded(-0.0f).bits == 0x8000);
  CHECK(std::isnan(widened(rounded(std::numeric_limits<float>::quiet_NaN()))));
  CHECK(std::isnan(widened(rounded(std::bit_cast<float>(0x7f800001u))))); // all its fraction is in the lower half
  CHECK(widened(rounded(std::numeric_limits<float>::max())) == std::numeric_limits<float>::infinity());
  CHECK(widened(rounded(-std::numeric_limits<float>::infinity())) == -std::numeric_limits<float>::infinity());
}

TEST_CASE("bfloat16: what is one already stays as it is") {
  for (std::uint32_t bits = 0; bits < 0x7f80; ++bits) {
    const bfloat16 one{static_cast<std::uint16_t>(bits)};
    REQUIRE(rounded(widened(one)).bits == bits);
  }
}

} // namespace bfloat16_test
