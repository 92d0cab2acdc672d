#include "runtime/data/difficulty.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

namespace difficulty_test {

using namespace millrace::data;

namespace {

/// How often each row is drawn, where the rows' rates are set once.
std::vector<int> counts(const std::vector<double>& rates, int draws) {
  difficulty rows(rates.size(), 3);
  for (std::size_t row = 0; row < rates.size(); ++row)
    rows.measured(row, rates[row]);
  std::vector<int> count(rates.size());
  for (int i = 0; i < draws; ++i)
    ++count.at(*rows.draw());
  return count;
}

} // namespace

TEST_CASE("rows near one half come most, rows that are always or never solved come seldom, and each comes") {
  std::vector<double> rates; // so many that resting hardly shows
  for (int i = 0; i < 3000; ++i)
    rates.push_back(i % 3 == 0 ? 0.0 : i % 3 == 1 ? 0.5 : 1.0);
  const auto count = counts(rates, 60000);
  int never = 0, half = 0, always = 0;
  for (std::size_t row = 0; row < count.size(); ++row)
    (row % 3 == 0 ? never : row % 3 == 1 ? half : always) += count[row];
  CHECK(half > 10 * (never + always));
  CHECK(never > 100);
  CHECK(always > 100);
  CHECK(std::abs(never - always) < 6 * std::sqrt(static_cast<double>(never + always)));
}

TEST_CASE("a row that was drawn rests, and rows that were not measured come like those of one half") {
  difficulty rows(10, 1);
  std::vector<std::uint64_t> drawn;
  for (int i = 0; i < 200; ++i) {
    drawn.push_back(*rows.draw());
    const std::set<std::uint64_t> last(drawn.end() - std::min(i + 1, 3), drawn.end());
    CHECK(last.size() == static_cast<std::size_t>(std::min(i + 1, 3)));
  }
  CHECK(std::set<std::uint64_t>(drawn.begin(), drawn.end()).size() == 10);
}

TEST_CASE("the first result is the rate, and each later one counts half; results outside [0, 1] count as its ends") {
  difficulty rows(4, 1);
  rows.measured(2, 1);
  rows.measured(2, 0);
  rows.measured(2, 1);
  rows.measured(3, -7);
  rows.measured(0, 12.5);
  CHECK(rows.save().measured == std::vector<measured_row>{{0, 65536}, {2, 49152}, {3, 0}});
}

TEST_CASE("rows that cannot be used are not drawn; without any other there is none") {
  difficulty rows(3, 1);
  rows.unusable(0);
  rows.unusable(2);
  rows.measured(2, 0.5);
  for (int i = 0; i < 5; ++i)
    CHECK(rows.draw() == 1);
  rows.unusable(1);
  CHECK(!rows.draw());
  difficulty one(1, 9);
  CHECK(one.draw() == 0);
  CHECK(one.draw() == 0);
}

TEST_CASE("draws are a function of seed and results, and go on from any state as they did") {
  difficulty rows(50, 4), same(50, 4), other(50, 5);
  std::vector<std::uint64_t> drawn, drawn_by_other;
  for (int i = 0; i < 300; ++i) {
    if (i % 40 == 39) {
      difficulty again(50, 4);
      again.restore(rows.save());
      CHECK(again.save() == rows.save());
      same = again;
    }
    const auto row = *rows.draw();
    CHECK(same.draw() == row);
    const double share = static_cast<double>(row % 5) / 4;
    rows.measured(row, share);
    same.measured(row, share);
    if (row == 17) {
      rows.unusable(row);
      same.unusable(row);
    }
    drawn.push_back(row);
    drawn_by_other.push_back(*other.draw());
  }
  CHECK(drawn != drawn_by_other);
}

} // namespace difficulty_test
