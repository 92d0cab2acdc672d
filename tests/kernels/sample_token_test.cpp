#include "kernels/counter_random.hpp"
#include "kernels/sample_token.hpp"
#include "kernels/thread_team.hpp"
#include "kernels/token_logprob.hpp"
#include "tests/kernels/random_floats.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

namespace sample_token_test {

using namespace millrace::kernels;
using millrace::test::instruction_sets_here;
using millrace::test::random_floats;

namespace {

struct drawn {
  std::int32_t token;
  float logprob;
};

drawn draw(const std::vector<float>& logits, sampling_rule rule, double uniform, thread_team& team,
           decltype(&sample_token) how = &sample_token) {
  drawn result{};
  const float* row = logits.data();
  how({&row, &rule, &uniform, &result.token, &result.logprob, 1, static_cast<std::int64_t>(logits.size())}, team);
  return result;
}

std::set<std::int32_t> possible(const std::vector<float>& logits, sampling_rule rule) {
  thread_team team(1);
  std::set<std::int32_t> tokens;
  for (int i = 0; i < 2000; ++i)
    tokens.insert(draw(logits, rule, i / 2000.0, team).token);
  return tokens;
}

// Probabilities 0.5, 0.1, 0.3, 0.1.
const std::vector<float> four{std::log(0.5f), std::log(0.1f), std::log(0.3f), std::log(0.1f)};

} // namespace

TEST_CASE("the cumulative distribution is inverted in the order of the words") {
  for (const auto set : instruction_sets_here()) {
    thread_team team(1, set);
    CHECK(draw(four, {}, 0.0, team).token == 0);
    CHECK(draw(four, {}, 0.49, team).token == 0);
    CHECK(draw(four, {}, 0.51, team).token == 1);
    CHECK(draw(four, {}, 0.61, team).token == 2);
    CHECK(draw(four, {}, 0.91, team).token == 3);
    CHECK(draw(four, {}, std::nextafter(1.0, 0.0), team).token == 3);
  }
}

TEST_CASE("temperature 0 takes the first of the likeliest and tells its probability at temperature 1") {
  thread_team team(1);
  const auto got = draw({0, std::log(2.0f), std::log(2.0f)}, {.temperature = 0}, 0.99, team);
  CHECK(got.token == 1);
  CHECK(got.logprob == doctest::Approx(std::log(0.4)));
}

TEST_CASE("top-k, top-p and min-p leave the words they should") {
  CHECK(possible(four, {}) == std::set<std::int32_t>{0, 1, 2, 3});
  CHECK(possible(four, {.top_k = 2}) == std::set<std::int32_t>{0, 2});
  CHECK(possible(four, {.top_p = 0.6f}) == std::set<std::int32_t>{0, 2});
  CHECK(possible(four, {.top_p = 0.45f}) == std::set<std::int32_t>{0});
  CHECK(possible(four, {.min_p = 0.5f}) == std::set<std::int32_t>{0, 2});
  CHECK(possible(four, {.top_k = 3, .top_p = 0.95f, .min_p = 0.3f}) == std::set<std::int32_t>{0, 2});
}

TEST_CASE("the log-probability is over all words whatever the filter") {
  thread_team team(1);
  const auto got = draw(four, {.top_k = 1}, 0.3, team);
  CHECK(got.token == 0);
  CHECK(got.logprob == doctest::Approx(std::log(0.5)));
}

TEST_CASE("a large vocabulary: the same word as the reference, the same log-probability as token_logprob") {
  constexpr std::int64_t vocab = 50257, rows = 40;
  const sampling_rule rules[] = {{},
                                 {.temperature = 0.7f},
                                 {.top_k = 50},
                                 {.top_p = 0.9f},
                                 {.temperature = 1.5f, .top_p = 0.99f},
                                 {.min_p = 0.02f},
                                 {.temperature = 2, .top_k = 1000, .top_p = 0.8f, .min_p = 0.1f}};
  for (const auto set : instruction_sets_here()) {
    thread_team team(2, set);
    int different = 0;
    for (const auto& rule : rules)
      for (std::int64_t r = 0; r < rows / 8; ++r) {
        const auto logits = random_floats(vocab, static_cast<unsigned>(r), 3.0f);
        const double u = uniform(9, 0, static_cast<std::uint64_t>(r));
        const auto got = draw(logits, rule, u, team);
        const auto want =
            draw(logits, rule, u, team, [](const sample_token_args& a, thread_team&) { sample_token_reference(a); });
        float logprob = 0;
        token_logprob({.logits = logits.data(),
                       .targets = &got.token,
                       .logprob = &logprob,
                       .tokens = 1,
                       .vocab = vocab,
                       .temperature = rule.temperature},
                      team);
        CHECK(got.logprob == logprob);
        different += got.token != want.token;
      }
    // A draw within rounding (1e-6) of the border between two words may fall either way.
    CHECK(different == 0);
  }
}

TEST_CASE("frequencies follow the probabilities") {
  thread_team team(1);
  constexpr int draws = 20000;
  int count[4] = {};
  for (int i = 0; i < draws; ++i)
    ++count[draw(four, {}, uniform(1, 2, static_cast<std::uint64_t>(i)), team).token];
  const double p[4] = {0.5, 0.1, 0.3, 0.1};
  double chi2 = 0;
  for (int w = 0; w < 4; ++w)
    chi2 += std::pow(count[w] - draws * p[w], 2) / (draws * p[w]);
  CHECK(chi2 < 16.3); // 3 degrees of freedom, 1 in 1000; the draws are fixed by the seed
}

TEST_CASE("Philox 4x32-10 of zeros: the known answer of its authors") {
  // Random123's kat_vectors: 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
  CHECK(uniform(0, 0, 0) == static_cast<double>(0xe169c58d6627e8d5ull >> 11) * 0x1p-53);
}

TEST_CASE("rules out of range are refused") {
  thread_team team(1);
  CHECK_THROWS_AS(draw(four, {.temperature = -1}, 0, team), std::invalid_argument);
  CHECK_THROWS_AS(draw(four, {.temperature = NAN}, 0, team), std::invalid_argument);
  CHECK_THROWS_AS(draw(four, {.top_k = -1}, 0, team), std::invalid_argument);
  CHECK_THROWS_AS(draw(four, {.top_p = 0}, 0, team), std::invalid_argument);
  CHECK_THROWS_AS(draw(four, {.min_p = 1.5f}, 0, team), std::invalid_argument);
}

} // namespace sample_token_test
