#include "runtime/watch/curve.hpp"

#include <doctest/doctest.h>

namespace curve_test {

using namespace millrace::watch;

TEST_CASE("a curve of a few points holds each of them") {
  curve c;
  c.add(1, 0.5);
  c.add(2, 0.25);
  CHECK(c.points() == std::vector<std::pair<double, double>>{{1, 0.5}, {2, 0.25}});
}

TEST_CASE("a curve of 100,000 points holds at most 400 of them, evenly, with the first and the newest") {
  curve c;
  for (int step = 1; step <= 100'000; ++step)
    c.add(step, 2 * step);
  const auto points = c.points();
  CHECK(points.size() <= curve::most);
  CHECK(points.size() >= curve::most / 2);
  CHECK(points.front() == std::pair(1.0, 2.0));
  CHECK(points.back() == std::pair(100'000.0, 200'000.0));
  const double apart = points[1].first - points[0].first;
  for (std::size_t i = 1; i + 1 < points.size(); ++i)
    CHECK(points[i].first - points[i - 1].first == apart);
}

} // namespace curve_test
