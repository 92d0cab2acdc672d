#include "algorithms/preference_pairs.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace dpo_test {

using namespace millrace;
using tests::doubles;
using tests::largest_difference;
using tests::losses_of;

namespace {

constexpr auto by_group = algorithms::aggregation::group_mean;

/// One group; log-ratios to the reference of its answers' tokens.
algorithms::answer_columns group_of(const std::vector<std::int64_t>& length, const std::vector<double>& reward,
                                    const std::vector<double>& ratio) {
  auto a =
      tests::answers_of(length, doubles(ratio) - 3, at::zeros({static_cast<std::int64_t>(ratio.size())}, at::kDouble),
                        at::ones({static_cast<std::int64_t>(ratio.size())}, at::kDouble));
  a.ref_logprob = at::full_like(a.old_logprob, -3);
  a.reward = doubles(reward);
  a.group = at::zeros_like(a.length);
  a.group_tokens = a.length.sum().expand({a.length.numel()});
  return a;
}

} // namespace

TEST_CASE("dpo: the chosen answer leads by log 3") {
  // sigmoid(log 3) = 3/4: loss log(4/3), slope -1/4, on every token of the chosen answer and the other way on the
  // rejected
  const auto out =
      losses_of("dpo", group_of({1, 2}, {0, 1}, {-std::log(1.5), std::log(2.0), 0}), {{"beta", 1}}, by_group);
  CHECK(largest_difference(out.losses, at::full({3}, std::log(4.0 / 3), at::kDouble)) < 1e-12);
  CHECK(largest_difference(out.gradient, doubles({0.25, -0.25, -0.25})) < 1e-12);
}

TEST_CASE("dpo: label smoothing, IPO and hinge at a lead of log 3") {
  const auto answers = group_of({1, 1}, {1, 0}, {std::log(3.0), 0});
  const auto loss = [&](const std::map<std::string, double>& set) {
    return losses_of("dpo", answers, set, by_group).losses[0].item<double>();
  };
  CHECK(loss({{"beta", 1}, {"label_smoothing", 0.25}})
        == doctest::Approx(0.75 * std::log(4.0 / 3) + 0.25 * std::log(4.0)).epsilon(1e-12));
  CHECK(loss({{"beta", 0.25}, {"form", 1}})
        == doctest::Approx((std::log(3.0) - 2) * (std::log(3.0) - 2)).epsilon(1e-12));
  CHECK(loss({{"beta", 0.5}, {"form", 2}}) == doctest::Approx(1 - 0.5 * std::log(3.0)).epsilon(1e-12));
  CHECK(loss({{"beta", 2}, {"form", 2}}) == 0);
}

TEST_CASE("dpo: with means over tokens the length of an answer does not count") {
  const auto out =
      losses_of("dpo", group_of({1, 2}, {1, 0}, {1, 0.5, 1.5}), {{"length_mean", 1}, {"beta", 1}}, by_group);
  CHECK(out.losses[0].item<double>() == doctest::Approx(std::log(2.0)).epsilon(1e-12));
}

TEST_CASE("dpo: every two answers of different reward are a pair, and a group is the mean of its pairs") {
  const auto pairs = algorithms::pairs_of(doubles({1, 0, 1, 5, 5}), at::tensor({3, 3, 3, 8, 8}, at::kLong));
  CHECK(at::equal(pairs.chosen, at::tensor({0, 2}, at::kLong)));
  CHECK(at::equal(pairs.rejected, at::tensor({1, 1}, at::kLong)));
  CHECK(at::equal(pairs.weight, doubles({0.5, 0.5})));
  const auto out = losses_of("dpo", group_of({1, 1, 1}, {2, 1, 0}, {0, 0, 0}), {{"beta", 1}}, by_group);
  // three pairs of lead 0, slope -1/2 each: the best is chosen twice, the worst rejected twice
  CHECK(largest_difference(out.gradient, doubles({-1.0 / 3, 0, 1.0 / 3})) < 1e-12);
}

TEST_CASE("dpo: a group of equal rewards trains nothing") {
  const auto out = losses_of("dpo", group_of({1, 1}, {1, 1}, {0.3, 0.7}), {}, by_group);
  CHECK(largest_difference(out.losses, doubles({0, 0})) == 0);
  CHECK(at::equal(tests::advantages_of("dpo", tests::step_of({{1, 1}, {0, 1}}, {1, 1, 1, 1})), doubles({0, 0, 1, 1})));
}

TEST_CASE("dpo: a missing reference is refused by the column's name") {
  auto answers = group_of({1, 1}, {1, 0}, {0, 0});
  answers.ref_logprob = at::Tensor();
  CHECK_THROWS_WITH_AS(losses_of("dpo", answers), doctest::Contains("ref_logprob"), c10::Error);
}

} // namespace dpo_test
