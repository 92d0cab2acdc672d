#include "runtime/train/moving_average.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <stdexcept>

namespace moving_average_test {

using namespace millrace;
using train::moving_average;

TEST_CASE("the average starts at the first parameters and takes a share of each step's") {
  model::weights w{{"p", at::tensor({8.0f, -4.0f})}};
  moving_average average(w, 0.75);
  w[0].tensor.fill_(4);
  CHECK(at::equal(average.parameters()[0].tensor, at::tensor({8.0f, -4.0f})));
  average.update(w); // 0.75 * 8 + 0.25 * 4, 0.75 * -4 + 0.25 * 4
  CHECK(at::allclose(average.parameters()[0].tensor, at::tensor({7.0f, -2.0f})));
  average.update(w);
  CHECK(at::allclose(average.parameters()[0].tensor, at::tensor({6.25f, -0.5f})));
}

TEST_CASE("decay 0 is the last step; other parameters and decays are refused") {
  model::weights w{{"p", at::tensor({1.0f})}};
  moving_average last(w, 0);
  w[0].tensor.fill_(3);
  last.update(w);
  CHECK(last.parameters()[0].tensor.item<float>() == 3);
  CHECK_THROWS_AS(last.update({}), std::invalid_argument);
  CHECK_THROWS_WITH_AS(moving_average(w, 1), doctest::Contains("ema_decay"), std::invalid_argument);
}

} // namespace moving_average_test
