#include "kernels/thread_team.hpp"
#include "kernels/token_logprob.hpp"
#include "tests/kernels/random_floats.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

namespace token_logprob_test {

using namespace millrace::kernels;
using millrace::test::instruction_sets_here;
using millrace::test::random_floats;

namespace {

constexpr float masked = -std::numeric_limits<float>::infinity();

float one(const std::vector<float>& logits, std::int32_t target, float temperature = 1) {
  float reference = NAN;
  token_logprob_reference(
      {logits.data(), &target, &reference, 1, static_cast<std::int64_t>(logits.size()), temperature});
  for (const auto set : instruction_sets_here()) {
    thread_team team(1, set);
    float got = NAN;
    token_logprob({.logits = logits.data(),
                   .targets = &target,
                   .logprob = &got,
                   .tokens = 1,
                   .vocab = static_cast<std::int64_t>(logits.size()),
                   .temperature = temperature},
                  team);
    CHECK(got == doctest::Approx(reference).epsilon(1e-6));
  }
  return reference;
}

} // namespace

TEST_CASE("equal logits over 4 words: each has probability 1/4") {
  CHECK(one({7, 7, 7, 7}, 2) == doctest::Approx(-std::log(4.0)));
}

TEST_CASE("logits of a thousand stay finite") {
  CHECK(one({1000, 0}, 1) == doctest::Approx(-1000.0));
}

TEST_CASE("masked words take no probability") {
  CHECK(one({masked, 3, masked, 3}, 1) == doctest::Approx(-std::log(2.0)));
}

TEST_CASE("temperature 2 halves the logits: ln 3 against 0 becomes sqrt(3) against 1") {
  CHECK(one({std::log(3.0f), 0}, 1, 2) == doctest::Approx(-std::log(1 + std::sqrt(3.0))));
}

TEST_CASE("ignored tokens are zero") {
  CHECK(one({1, 2, 3}, ignore_token) == 0.0f);
}

TEST_CASE("a real vocabulary agrees with the sum in double") {
  constexpr std::int64_t vocab = 49152, rows = 5;
  const auto logits = random_floats(rows * vocab, 1, 5.0f);
  const std::vector<std::int32_t> targets{0, 49151, 777, 31, 40000};
  std::vector<float> want(rows), got(rows);
  token_logprob_reference(
      {.logits = logits.data(), .targets = targets.data(), .logprob = want.data(), .tokens = rows, .vocab = vocab});
  for (const auto set : instruction_sets_here()) {
    thread_team team(2, set);
    token_logprob(
        {.logits = logits.data(), .targets = targets.data(), .logprob = got.data(), .tokens = rows, .vocab = vocab},
        team);
    for (std::size_t r = 0; r < rows; ++r)
      CHECK(std::abs(got[r] - want[r]) < 5e-6); // fp32 of a number near 20, twice
  }
}

TEST_CASE("an empty vocabulary and temperature 0 are refused") {
  thread_team team(1);
  const float logit = 0;
  const std::int32_t target = 0;
  float out = 0;
  CHECK_THROWS_AS(token_logprob({.logits = &logit, .targets = &target, .logprob = &out, .tokens = 1, .vocab = 0}, team),
                  std::invalid_argument);
  CHECK_THROWS_AS(
      token_logprob({.logits = &logit, .targets = &target, .logprob = &out, .tokens = 1, .vocab = 1, .temperature = 0},
                    team),
      std::invalid_argument);
}

} // namespace token_logprob_test
