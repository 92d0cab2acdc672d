#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace bradley_terry_test {

using namespace millrace;
using tests::doubles;
using tests::largest_difference;
using tests::losses_of;

namespace {

constexpr auto by_group = algorithms::aggregation::group_mean;

algorithms::answer_columns group_of(const std::vector<double>& reward, const std::vector<double>& score) {
  const auto n = static_cast<std::int64_t>(reward.size());
  auto a = tests::answers_of(std::vector<std::int64_t>(reward.size(), 2), at::zeros({2 * n}, at::kDouble),
                             at::zeros({2 * n}, at::kDouble), at::ones({2 * n}, at::kDouble));
  a.reward = doubles(reward);
  a.group = at::zeros({n}, at::kLong);
  a.group_tokens = a.length.sum().expand({n});
  a.score = doubles(score).requires_grad_();
  return a;
}

} // namespace

TEST_CASE("bradley_terry: the better answer's score leads by log 3") {
  const auto out = losses_of("bradley_terry", group_of({0, 1}, {1, 1 + std::log(3.0)}), {}, by_group);
  CHECK(largest_difference(out.losses, at::full({4}, std::log(4.0 / 3), at::kDouble)) < 1e-12);
  CHECK(largest_difference(out.gradient, doubles({0.25, -0.25})) < 1e-12);
}

TEST_CASE("bradley_terry: a margin is a lead that does not count, centring pulls the scores to 0") {
  const auto answers = group_of({3, 1}, {2, 1});
  const auto loss = [&](const std::map<std::string, double>& set) {
    return losses_of("bradley_terry", answers, set, by_group).losses[0].item<double>();
  };
  CHECK(loss({{"margin", 1}}) == doctest::Approx(std::log(2.0)).epsilon(1e-12));
  CHECK(loss({{"margin_per_reward", 0.5}}) == doctest::Approx(std::log(2.0)).epsilon(1e-12));
  CHECK(loss({{"margin", 1}, {"centring", 0.1}}) == doctest::Approx(std::log(2.0) + 0.9).epsilon(1e-12));
}

TEST_CASE("bradley_terry: a group of equal rewards trains nothing, and a model without a score head is refused") {
  CHECK(
      largest_difference(losses_of("bradley_terry", group_of({1, 1}, {3, -3}), {}, by_group).gradient, doubles({0, 0}))
      == 0);
  auto answers = group_of({1, 0}, {0, 0});
  answers.score = at::Tensor();
  CHECK_THROWS_WITH_AS(losses_of("bradley_terry", answers), doctest::Contains("score"), c10::Error);
}

} // namespace bradley_terry_test
