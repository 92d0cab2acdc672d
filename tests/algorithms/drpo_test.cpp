#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace drpo_test {

using namespace millrace;
using tests::advantages_of;
using tests::doubles;
using tests::largest_difference;
using tests::losses_of;
using tests::step_of;

namespace {

constexpr auto by_group = algorithms::aggregation::group_mean;

algorithms::answer_columns group_of(const std::vector<std::int64_t>& length, const std::vector<double>& reward,
                                    const at::Tensor& logprob) {
  auto a = tests::answers_of(length, logprob, logprob, at::zeros_like(logprob));
  a.reward = doubles(reward);
  a.group = at::zeros_like(a.length);
  a.group_tokens = a.length.sum().expand({a.length.numel()});
  return a;
}

} // namespace

TEST_CASE("drpo: one good answer of score -1 against two bad ones of score -2") {
  // J = -1 - log(2 e^-2) = 1 - log 2; the two bad answers share the gradient, one of them over two tokens
  const auto out = losses_of("drpo", group_of({1, 1, 2}, {1, 0, 0}, doubles({-1, -2, -1, -3})), {{"tau", 1}}, by_group);
  CHECK(largest_difference(out.losses, at::full({4}, std::log(2.0) - 1, at::kDouble)) < 1e-12);
  CHECK(largest_difference(out.gradient, doubles({-1, 0.5, 0.25, 0.25})) < 1e-12);
}

TEST_CASE("drpo: of two good answers the shorter one weighs more") {
  // weights 2^-T: a length weight of 1 / log 2 in units of one token; 2/3 and 1/3
  const auto answers = group_of({1, 2, 1}, {1, 1, 0}, doubles({-1, -2, -2, -2}));
  const auto out = losses_of("drpo", answers, {{"max_length", 1}, {"length_weight", 1 / std::log(2.0)}}, by_group);
  CHECK(largest_difference(out.gradient, doubles({-2.0 / 3, -1.0 / 6, -1.0 / 6, 1})) < 1e-12);
  const auto disco = losses_of("drpo", answers, {{"length_weight", 1e12}}, by_group);
  CHECK(largest_difference(disco.gradient, doubles({-0.5, -0.25, -0.25, 1})) < 1e-9);
}

TEST_CASE("drpo: a prompt without both kinds trains nothing, an empty answer is of neither kind") {
  CHECK(largest_difference(losses_of("drpo", group_of({1, 1}, {1, 1}, doubles({-1, -2})), {}, by_group).gradient,
                           doubles({0, 0}))
        == 0);
  CHECK(largest_difference(losses_of("drpo", group_of({1, 0}, {1, 0}, doubles({-1})), {}, by_group).gradient,
                           doubles({0}))
        == 0);
}

TEST_CASE("drpo: away from the start of the step the KL damps, by a detached factor") {
  auto answers = group_of({1, 1}, {1, 1}, doubles({-1, -2}));
  answers.old_logprob = doubles({-0.5, -1.9}); // KL: mean of 0.5 and 0.1
  const auto out = losses_of("drpo", answers, {{"beta", 10}, {"delta", 0.1}}, by_group);
  CHECK(largest_difference(out.losses, doubles({2 * 0.3, 2 * 0.3})) < 1e-12); // 10 (0.3 - 0.1) = 2
  CHECK(largest_difference(out.gradient, doubles({-1, -1})) < 1e-12);         // 2 * -1 / 2
  CHECK(largest_difference(losses_of("drpo", answers, {{"delta", 0.4}}, by_group).gradient, doubles({0, 0})) == 0);
}

TEST_CASE("drpo: scores far apart stay finite") {
  const auto out = losses_of("drpo", group_of({1, 1}, {1, 0}, doubles({-5000, 0})),
                             {{"tau", 1e-3}, {"length_weight", 1e-6}}, by_group);
  CHECK(largest_difference(out.losses, doubles({5000, 5000})) < 1e-9);
  CHECK(largest_difference(out.gradient, doubles({-1, 1})) < 1e-12);
}

TEST_CASE("drpo: advantages say which answers take part") {
  const auto a = advantages_of("drpo", step_of({{1, 0}, {1, 1}, {0}}, {2, 1, 1, 1, 1}));
  CHECK(at::equal(a, doubles({1, 1, -1, 0, 0, 0})));
}

} // namespace drpo_test
