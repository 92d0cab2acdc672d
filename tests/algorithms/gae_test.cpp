#include "algorithms/gae.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

namespace gae_test {

using namespace millrace::algorithms;
using millrace::tests::doubles;
using millrace::tests::largest_difference;

namespace {

at::Tensor lengths(const std::vector<std::int64_t>& values) {
  return at::tensor(values, at::kLong);
}

} // namespace

TEST_CASE("gae: two tokens by hand, gamma 0.5, lambda 0.5") {
  // delta_2 = 4 - 2 = 2, A_2 = 2; delta_1 = 1 + 0.5 * 2 - 3 = -1, A_1 = -1 + 0.25 * 2 = -0.5
  const auto out = generalised_advantages(doubles({1, 4}), doubles({3, 2}), lengths({2}), 0.5, 0.5);
  CHECK(largest_difference(out.advantages, doubles({-0.5, 2})) < 1e-15);
  CHECK(largest_difference(out.returns, doubles({2.5, 4})) < 1e-15);
}

TEST_CASE("gae: with gamma and lambda 1 the return is the reward to go, whatever the critic said") {
  const auto out = generalised_advantages(doubles({1, 2, 3, 5}), doubles({7, -1, 0.5, 2}), lengths({3, 0, 1}), 1, 1);
  CHECK(largest_difference(out.returns, doubles({6, 5, 3, 5})) < 1e-14);
}

TEST_CASE("gae: with lambda 0 the advantage is the one-step error, and nothing crosses from answer to answer") {
  const auto out = generalised_advantages(doubles({0, 1, 0, 2}), doubles({3, 2, 5, 4}), lengths({2, 2}), 1, 0.0);
  CHECK(largest_difference(out.advantages, doubles({2 - 3, 1 - 2, 4 - 5, 2 - 4})) < 1e-15);
}

TEST_CASE("gae: a perfect critic leaves no advantage") {
  const auto out = generalised_advantages(doubles({0, 0, 1}), doubles({0.25, 0.5, 1}), lengths({3}), 0.5, 0.9);
  CHECK(largest_difference(out.advantages, doubles({0, 0, 0})) < 1e-15);
}

TEST_CASE("gae: each answer has its lambda, and a long one looks further") {
  // 1 - 1 / max(0.05 T, 1): 0 up to 20 tokens, 1 - 1 / 5 at 100
  CHECK(largest_difference(length_adaptive_lambda(lengths({0, 1, 20, 40, 100}), 0.05), doubles({0, 0, 0, 0.5, 0.8}))
        < 1e-15);
  const auto reward = doubles({0, 1, 0, 1}), value = at::zeros({4}, at::kDouble);
  const auto out = generalised_advantages(reward, value, lengths({2, 2}), 1, doubles({0, 0.5}));
  CHECK(largest_difference(out.advantages, doubles({0, 1, 0.5, 1})) < 1e-15);
}

TEST_CASE("gae: no tokens give no advantages, and columns that disagree are refused by name") {
  const auto none = at::empty({0}, at::kDouble);
  CHECK(generalised_advantages(none, none, lengths({0, 0}), 1, 1).advantages.numel() == 0);
  CHECK_THROWS_WITH_AS(generalised_advantages(doubles({1}), doubles({1, 2}), lengths({1}), 1, 1),
                       doctest::Contains("value"), c10::Error);
  CHECK_THROWS_WITH_AS(generalised_advantages(doubles({1}), doubles({1}), lengths({2}), 1, 1),
                       doctest::Contains("length"), c10::Error);
}

} // namespace gae_test
