#include "algorithms/majority_vote.hpp"
#include "algorithms/pass_at_k.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

namespace pass_at_k_test {

using millrace::algorithms::majority_vote;
using millrace::algorithms::pass_at_k;

namespace {

/// Rounding of a product of at most 20 factors.
constexpr double rounding = 1e-14;

} // namespace

TEST_CASE("pass@k by hand: 4 answers, 2 of them correct") {
  CHECK(pass_at_k(4, 2, 1) == doctest::Approx(0.5).epsilon(rounding));
  CHECK(pass_at_k(4, 2, 2) == doctest::Approx(5.0 / 6).epsilon(rounding)); // 1 - C(2,2) / C(4,2)
  CHECK(pass_at_k(4, 2, 3) == 1);
  CHECK(pass_at_k(4, 0, 4) == 0);
  CHECK(pass_at_k(1, 1, 1) == 1);
}

TEST_CASE("pass@k is the share of subsets that hold a correct answer") {
  for (int n = 1; n <= 10; ++n)
    for (int c = 0; c <= n; ++c)
      for (int k = 1; k <= n; ++k) {
        int subsets = 0, with = 0; // the first c answers are the correct ones
        for (unsigned set = 0; set < 1u << n; ++set)
          if (std::popcount(set) == k) {
            ++subsets;
            with += (set & ((1u << c) - 1)) != 0;
          }
        CAPTURE(n);
        CAPTURE(c);
        CAPTURE(k);
        CHECK(pass_at_k(n, c, k) == doctest::Approx(static_cast<double>(with) / subsets).epsilon(rounding));
      }
}

TEST_CASE("pass@k is unbiased: its mean over draws is 1 - (1 - p)^k, where the naive (c / n) estimate is not") {
  std::mt19937_64 draw(7);
  constexpr double p = 0.2;
  constexpr int n = 8, k = 4, draws = 200000;
  double unbiased = 0, naive = 0;
  std::binomial_distribution<int> answers(n, p);
  for (int i = 0; i < draws; ++i) {
    const int c = answers(draw);
    unbiased += pass_at_k(n, c, k) / draws;
    naive += (1 - std::pow(1 - static_cast<double>(c) / n, k)) / draws;
  }
  const double truth = 1 - std::pow(1 - p, k);
  constexpr double spread = 0.004; // five standard errors of 200,000 draws
  CHECK(std::abs(unbiased - truth) < spread);
  CHECK(std::abs(naive - truth) > 5 * spread);
}

TEST_CASE("pass@k refuses counts out of range by name") {
  CHECK_THROWS_WITH_AS(pass_at_k(0, 0, 1), "pass_at_k: n: want at least 1, got 0", std::invalid_argument);
  CHECK_THROWS_WITH_AS(pass_at_k(4, 5, 1), "pass_at_k: c: want 0 to n = 4, got 5", std::invalid_argument);
  CHECK_THROWS_WITH_AS(pass_at_k(4, 2, 5), "pass_at_k: k: want 1 to n = 4, got 5", std::invalid_argument);
}

TEST_CASE("a majority vote is right when the most frequent answer is, and ties count by their shares") {
  using votes = std::vector<std::string>;
  using flags = std::vector<std::uint8_t>;
  CHECK(majority_vote(votes{"7", "7", "9"}, flags{1, 1, 0}) == 1);
  CHECK(majority_vote(votes{"7", "9", "9"}, flags{1, 0, 0}) == 0);
  CHECK(majority_vote(votes{"7", "9"}, flags{1, 0}) == 0.5);
  CHECK(majority_vote(votes{"", "", "7"}, flags{0, 0, 1}) == 1); // answers that say nothing cast no vote
  CHECK(majority_vote(votes{"", ""}, flags{0, 0}) == 0);
  CHECK(majority_vote(votes{}, flags{}) == 0);
  CHECK_THROWS_AS(majority_vote(votes{"7"}, flags{}), std::invalid_argument);
}

TEST_CASE("a majority vote does not depend on the order of the answers") {
  std::vector<std::pair<std::string, std::uint8_t>> answers{{"7", 1}, {"7", 1}, {"9", 0}, {"9", 0}, {"3", 0}, {"", 0}};
  std::mt19937_64 draw(3);
  for (int i = 0; i < 50; ++i) {
    std::shuffle(answers.begin(), answers.end(), draw);
    std::vector<std::string> vote;
    std::vector<std::uint8_t> correct;
    for (const auto& [said, right] : answers) {
      vote.push_back(said);
      correct.push_back(right);
    }
    CHECK(majority_vote(vote, correct) == 0.5);
  }
}

} // namespace pass_at_k_test
