#include "algorithms/reward_clusters.hpp"
#include "tests/algorithms/columns.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace drpo_domain_test {

using namespace millrace;
using tests::advantages_of;
using tests::doubles;
using tests::largest_difference;
using tests::step_of;

TEST_CASE("drpo_domain: one domain, two questions alike: GRPO's advantage over the step's deviation") {
  // factors are alike and cancel: -1, 1, -1, 1 times something; their deviation is sqrt(4 / 3) times that
  const auto a = advantages_of("drpo_domain", step_of({{0, 1}, {1, 0}}, {1, 1, 1, 1}), {{"eps", 0}});
  const double s = std::sqrt(0.75);
  CHECK(largest_difference(a, doubles({-s, s, s, -s})) < 1e-12);
}

TEST_CASE("drpo_domain: the only question of a domain counts twice as much as each of two that are alike") {
  auto step = step_of({{0, 1}, {0, 1}, {0, 1}}, {1, 1, 1, 1, 1, 1});
  step.domain = at::tensor({7, 7, 7, 7, 2, 2}, at::kLong);
  // two: sqrt 2 * 0.5 * sqrt 2 * 0.5 = 0.5; one: 0.5 * 0.5 = 0.25
  const auto a = advantages_of("drpo_domain", step, {{"eps", 0}});
  CHECK(std::abs(a[5].item<double>() / a[1].item<double>() - 2) < 1e-12);
  CHECK(std::abs(a.std(0, true).item<double>() - 1) < 1e-12);
}

TEST_CASE("drpo_domain: a hard kind of question counts more than an easy one") {
  // two clusters of one question, means 0.25 and 0.75, each of size 1: advantages 3 to 1 after the groups' own
  // deviation
  const auto a = advantages_of("drpo_domain", step_of({{0, 0, 0, 1}, {1, 1, 1, 0}}, std::vector<std::int64_t>(8, 1)),
                               {{"eps", 0}});
  CHECK(std::abs(a[0].item<double>() / a[4].item<double>() + 3) < 1e-12);
}

TEST_CASE("drpo_domain: all-equal rewards, nothing solved: exactly nothing, and finite") {
  CHECK(at::equal(advantages_of("drpo_domain", step_of({{0, 0}, {0, 0}}, {1, 1, 1, 1})), at::zeros({4}, at::kDouble)));
  CHECK(at::equal(advantages_of("drpo_domain", step_of({{1}}, {1})), at::zeros({1}, at::kDouble)));
}

TEST_CASE("clusters of questions: two kinds with noise are two clusters, whatever the order of answers") {
  const auto c = algorithms::cluster_rewards({{0, 0.1}, {1, 0.9}, {0.1, 0}, {0.02, 0.01}, {1, 1}});
  CHECK(c.size == std::vector<double>{3, 2});
  CHECK(c.of == std::vector<std::size_t>{0, 1, 0, 0, 1});
  CHECK(c.mean[0] == doctest::Approx(0.23 / 6));
  CHECK(c.mean[1] == doctest::Approx(3.9 / 4));
}

TEST_CASE("clusters of questions: one kind is one cluster, groups of different sizes are compared by their quantiles") {
  CHECK(algorithms::cluster_rewards({{1, 0}, {0, 1}, {0, 1}}).size == std::vector<double>{3});
  CHECK(algorithms::cluster_rewards({{0, 1}, {0, 0, 1, 1}}).size == std::vector<double>{2});
  CHECK(algorithms::cluster_rewards({}).size.empty());
}

} // namespace drpo_domain_test
