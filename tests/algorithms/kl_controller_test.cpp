#include "algorithms/kl_controller.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <stdexcept>

namespace kl_controller_test {

using millrace::algorithms::next_kl_coefficient;

TEST_CASE("the KL's coefficient grows by a tenth when the KL is a tenth above its target for a whole horizon") {
  CHECK(next_kl_coefficient(0.2, 6.6, 100, {6, 100}) == doctest::Approx(0.22).epsilon(1e-12));
  CHECK(next_kl_coefficient(0.2, 5.4, 50, {6, 100}) == doctest::Approx(0.19).epsilon(1e-12));
}

TEST_CASE("an error counts for at most a fifth, and the coefficient never turns its sign") {
  CHECK(next_kl_coefficient(1, 1000, 10, {6, 100}) == doctest::Approx(1.02).epsilon(1e-12));
  CHECK(next_kl_coefficient(1, -5, 10, {6, 100}) == doctest::Approx(0.98).epsilon(1e-12));
  CHECK(next_kl_coefficient(1, 0, 1000, {6, 100}) == 0);
}

TEST_CASE("without a target, or a KL that is no number, the coefficient stays") {
  CHECK(next_kl_coefficient(0.3, 5, 10, {}) == 0.3);
  CHECK(next_kl_coefficient(0.3, std::numeric_limits<double>::quiet_NaN(), 10, {6, 100}) == 0.3);
}

TEST_CASE("a horizon or target out of range is refused") {
  CHECK_THROWS_AS(next_kl_coefficient(1, 1, 1, {1, 0}), std::invalid_argument);
  CHECK_THROWS_AS(next_kl_coefficient(1, 1, 1, {-1, 1}), std::invalid_argument);
}

} // namespace kl_controller_test
