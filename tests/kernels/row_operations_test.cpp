#include "kernels/add.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/rope.hpp"
#include "kernels/swiglu.hpp"
#include "kernels/thread_team.hpp"
#include "tests/kernels/random_floats.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

namespace row_operations_test {

using namespace millrace::kernels;
using millrace::test::instruction_sets_here;
using millrace::test::random_floats;

namespace {

double worst_relative(const std::vector<float>& got, const std::vector<float>& want) {
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(got[i]) - want[i]) / (1e-3 + std::abs(want[i])));
  return worst;
}

// A few units in the last place of fp32 (6e-8), relative to values not far below 1.
constexpr double tolerance = 2e-6;

} // namespace

TEST_CASE("the norm of (3, 4) with weights (1, 2): mean square 12.5") {
  const std::vector<float> x{3, 4}, weight{1, 2};
  std::vector<float> y(2);
  for (const auto set : instruction_sets_here()) {
    thread_team team(1, set);
    rms_norm({.x = x.data(), .weight = weight.data(), .y = y.data(), .rows = 1, .width = 2, .eps = 1e-12f}, team);
    CHECK(y[0] == doctest::Approx(3 / std::sqrt(12.5)));
    CHECK(y[1] == doctest::Approx(8 / std::sqrt(12.5)));
  }
}

TEST_CASE("rms_norm agrees with its reference, and a row does not see the others") {
  for (const auto set : instruction_sets_here())
    for (const std::int64_t width : {1, 15, 16, 33, 576}) {
      constexpr std::int64_t rows = 65;
      thread_team team(2, set);
      const auto x = random_floats(rows * width, 1), weight = random_floats(width, 2);
      std::vector<float> got(x.size()), want(x.size()), alone(static_cast<std::size_t>(width));
      rms_norm({.x = x.data(), .weight = weight.data(), .y = got.data(), .rows = rows, .width = width, .eps = 1e-5f},
               team);
      rms_norm_reference(
          {.x = x.data(), .weight = weight.data(), .y = want.data(), .rows = rows, .width = width, .eps = 1e-5f});
      CHECK(worst_relative(got, want) < tolerance);
      rms_norm({.x = x.data() + 40 * width,
                .weight = weight.data(),
                .y = alone.data(),
                .rows = 1,
                .width = width,
                .eps = 1e-5f},
               team);
      CHECK(std::equal(alone.begin(), alone.end(), got.begin() + 40 * width));
    }
}

TEST_CASE("a quarter turn swaps the halves of a head") {
  std::vector<float> x{1, 2, 3, 4};
  const std::vector<float> cos{1, 1, 0, 0}, sin{0, 0, 1, 1}; // position 0: no turn; position 1: 90 degrees
  const std::vector<std::int64_t> position{1};
  thread_team team(1);
  rope({.x = x.data(),
        .positions = position.data(),
        .cos = cos.data(),
        .sin = sin.data(),
        .rows = 1,
        .heads = 1,
        .head_dim = 4},
       team);
  CHECK(x == std::vector<float>{-3, -4, 1, 2});
}

TEST_CASE("rope agrees with its reference") {
  for (const auto set : instruction_sets_here())
    for (const std::int64_t dim : {2, 16, 64, 96}) {
      constexpr std::int64_t rows = 9, heads = 3, positions = 20;
      thread_team team(2, set);
      auto got = random_floats(rows * heads * dim, 3);
      auto want = got;
      std::vector<float> cos, sin;
      for (const float angle : random_floats(positions * dim / 2, 4, 3.0f)) {
        cos.push_back(std::cos(angle));
        sin.push_back(std::sin(angle));
      }
      std::vector<std::int64_t> at{0, 19, 3, 3, 7, 1, 18, 4, 5};
      rope({.x = got.data(),
            .positions = at.data(),
            .cos = cos.data(),
            .sin = sin.data(),
            .rows = rows,
            .heads = heads,
            .head_dim = dim},
           team);
      rope_reference({.x = want.data(),
                      .positions = at.data(),
                      .cos = cos.data(),
                      .sin = sin.data(),
                      .rows = rows,
                      .heads = heads,
                      .head_dim = dim});
      CHECK(worst_relative(got, want) < 1e-4); // differences of products cancel
    }
}

TEST_CASE("swiglu of gate 0 is 0 and of a large gate is gate times up") {
  const std::vector<float> gate{0, 50, -200}, up{3, 2, 5};
  std::vector<float> y(3);
  for (const auto set : instruction_sets_here()) {
    thread_team team(1, set);
    swiglu({.gate = gate.data(), .up = up.data(), .y = y.data(), .count = 3}, team);
    CHECK(y[0] == 0.0f);
    CHECK(y[1] == 100.0f);
    CHECK(std::abs(y[2]) < 1e-30f);
  }
}

TEST_CASE("swiglu agrees with its reference") {
  for (const auto set : instruction_sets_here())
    for (const std::int64_t count : {0, 1, 17, 5000}) {
      thread_team team(2, set);
      const auto gate = random_floats(count, 5, 4.0f), up = random_floats(count, 6);
      std::vector<float> got(gate.size()), want(gate.size());
      swiglu({.gate = gate.data(), .up = up.data(), .y = got.data(), .count = count}, team);
      swiglu_reference({.gate = gate.data(), .up = up.data(), .y = want.data(), .count = count});
      CHECK(worst_relative(got, want) < tolerance);
    }
}

TEST_CASE("add adds") {
  std::vector<float> y{1, 2, 3};
  const std::vector<float> x{10, 20, 30};
  thread_team team(1);
  add(y.data(), x.data(), 3, team);
  CHECK(y == std::vector<float>{11, 22, 33});
}

} // namespace row_operations_test
