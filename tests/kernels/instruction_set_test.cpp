#include "kernels/instruction_set.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

namespace instruction_set_test {

using namespace millrace::kernels;

TEST_CASE("a person may ask for narrower instructions than the machine has, never for wider ones") {
  using enum instruction_set;
  CHECK(at_most(avx512, nullptr) == avx512);
  CHECK(at_most(avx512, "") == avx512);
  CHECK(at_most(avx512, "avx2") == avx2);
  CHECK(at_most(avx512vnni, "avx512") == avx512);
  CHECK(at_most(avx512vnni, "avx512vnni") == avx512vnni);
  CHECK(at_most(avx2, "avx512") == avx2);
  CHECK(at_most(avx2, "portable") == portable);
  CHECK_THROWS_WITH_AS(at_most(avx2, "sse"),
                       "MILLRACE_INSTRUCTIONS: found 'sse', want portable, avx2, avx512 or avx512vnni",
                       std::invalid_argument);
}

} // namespace instruction_set_test
