#include "runtime/data/shares.hpp"
#include "runtime/data/shuffle.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <vector>

namespace shares_test {

using namespace millrace::data;

namespace {

std::vector<share> with(const std::vector<std::uint64_t>& weights) {
  std::vector<share> shares;
  for (const auto weight : weights)
    shares.push_back({.weight = weight});
  return shares;
}

/// So many turns, as places.
std::vector<std::size_t> turns(std::vector<share> shares, std::size_t count) {
  std::vector<std::size_t> taken;
  for (std::size_t i = 0; i < count; ++i) {
    taken.push_back(whose_turn(shares));
    ++shares.at(taken.back()).given;
  }
  return taken;
}

/// The largest difference of a count from its share, over all runs of `length` turns; of `length` 0: over all that
/// begin with the first turn.
double farthest(const std::vector<std::uint64_t>& weights, const std::vector<std::size_t>& taken, std::size_t length) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  double most = 0;
  for (std::size_t who = 0; who < weights.size(); ++who) {
    std::vector<double> before{0};
    for (const std::size_t one : taken)
      before.push_back(before.back() + (one == who ? 1 : 0));
    for (std::size_t end = length; end < before.size(); ++end) {
      const std::size_t begin = length == 0 ? 0 : end - length;
      const double share = static_cast<double>(weights[who]) / sum * static_cast<double>(end - begin);
      most = std::max(most, std::abs(before[end] - before[begin] - share));
    }
  }
  return most;
}

/// Weights of 2 to 9, some of them alike, some very uneven.
std::vector<std::uint64_t> drawn_weights(std::uint64_t seed) {
  std::vector<std::uint64_t> weights;
  const auto count = 2 + drawn_below(seed, 0, 8);
  const std::uint64_t largest = std::uint64_t{1} << drawn_below(seed, 1, 40);
  for (std::uint64_t i = 0; i < count; ++i)
    weights.push_back(1 + drawn_below(seed, 2 + i, largest));
  return weights;
}

} // namespace

TEST_CASE("after every number of turns each has had its share to within 1; any 100 turns hold it to within 2") {
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const auto weights = drawn_weights(seed);
    const auto taken = turns(with(weights), 1500);
    CAPTURE(seed);
    CHECK(farthest(weights, taken, 0) < 1 + 1e-9);
    CHECK(farthest(weights, taken, 100) < 2 - 1e-9);
  }
}

TEST_CASE("two sources: any 100 turns hold the share to within 1") {
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const std::vector<std::uint64_t> weights{1 + drawn_below(seed, 0, 1000), 1 + drawn_below(seed, 1, 1000)};
    CAPTURE(seed);
    CHECK(farthest(weights, turns(with(weights), 1500), 100) < 1 + 1e-9);
  }
}

TEST_CASE("whole percents: any 100 turns in a row hold exactly that many") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    std::vector<std::uint64_t> percents;
    for (std::uint64_t left = 100, i = 0; left > 0; ++i) {
      percents.push_back(1 + drawn_below(seed, i, left));
      left -= percents.back();
    }
    CAPTURE(seed);
    CHECK(farthest(percents, turns(with(percents), 450), 100) < 1e-9);
  }
}

TEST_CASE("turns in order of the list where nothing else decides, and none for one that has ended") {
  CHECK(turns(with({1, 1, 1}), 6) == std::vector<std::size_t>{0, 1, 2, 0, 1, 2});
  CHECK(turns(with({3}), 3) == std::vector<std::size_t>{0, 0, 0});
  auto shares = with({1, 5, 1});
  shares[1].ended = true;
  CHECK(turns(shares, 4) == std::vector<std::size_t>{0, 2, 0, 2});
  shares[0].ended = shares[2].ended = true;
  CHECK(whose_turn(shares) == 3);
  CHECK(whose_turn({}) == 0);
}

TEST_CASE("weights as whole numbers, also the largest and those that would be nothing") {
  CHECK(whole_weight(0.7) == 700000);
  CHECK(whole_weight(1e6) == 1000000000000u);
  CHECK(whole_weight(1e-9) == 1);
  const std::vector<std::uint64_t> uneven{whole_weight(1e6), whole_weight(1e6), 1};
  CHECK(farthest(uneven, turns(with(uneven), 1000), 0) < 1 + 1e-9);
}

} // namespace shares_test
