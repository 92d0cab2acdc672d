#include "runtime/model/answer_logprobs.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/model/segments.hpp"
#include "tests/runtime/model/random_decoder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <numeric>
#include <stdexcept>

namespace segments_test {

using namespace millrace;

namespace {

using tokens = std::vector<std::int32_t>;

/// Of each token the sum of everything before it.
std::vector<float> sums(std::span<const std::int32_t> prompt, std::span<const tokens> answers) {
  std::vector<float> out;
  for (const auto& answer : answers) {
    float sum = std::accumulate(prompt.begin(), prompt.end(), 0.0f);
    for (const auto token : answer) {
      out.push_back(sum);
      sum += static_cast<float>(token);
    }
  }
  return out;
}

} // namespace

TEST_CASE("a segment sees itself alone, and its first token is predicted by nothing") {
  const tokens prompt{100, 200};
  const std::vector<tokens> answers{{1, 2, 3, 4, 5, 6}, {7, 8}, {}, {10, 20, 30}};
  const model::segment_begins begins{{2, 5}, {}, {}, {1}};
  // prompt 300; [1 2] [3 4 5] [6]; [7 8]; []; [10] [20 30]
  CHECK(model::by_segment(sums, prompt, answers, begins)
        == std::vector<float>{300, 301, 0, 3, 7, 0, 300, 307, 300, 0, 20});
  CHECK(model::by_segment(sums, prompt, answers, {}) == sums(prompt, answers));

  const auto end = model::ending_of(prompt, answers[0], begins[0]);
  CHECK(tokens(end.prompt.begin(), end.prompt.end()) == tokens{6});
  CHECK(end.answer.empty());
  const auto whole = model::ending_of(prompt, answers[1], begins[1]);
  CHECK(tokens(whole.prompt.begin(), whole.prompt.end()) == prompt);
  CHECK(tokens(whole.answer.begin(), whole.answer.end()) == answers[1]);
}

TEST_CASE("segments that are none are refused") {
  const tokens answer{1, 2, 3};
  for (const auto& begins : {tokens{0}, tokens{3}, tokens{2, 2}, tokens{2, 1}, tokens{-1}, tokens{1, 4}}) {
    CAPTURE(begins.back());
    CHECK_THROWS_AS(model::further_segments(answer, begins), std::invalid_argument);
  }
  CHECK_THROWS_WITH_AS(model::further_segments(answer, tokens{2, 1}),
                       "a segment of the tokens 2 to 1 of 3, want segments one after another", std::invalid_argument);
}

TEST_CASE("log-probabilities of a segment are those of a prompt that it begins with") {
  const auto config = tests::tiny_config("llama");
  const auto policy = model::inference_decoder(config, tests::random_weights(config, 7, at::kFloat, false), at::kCPU);
  const tokens prompt{3, 4};
  const std::vector<tokens> answers{{5, 6, 7, 8, 9, 10, 11}};
  const auto score = [&](auto before, auto behind) { return model::answer_logprobs(*policy, before, behind, 1, 1); };
  const auto found = model::by_segment(score, prompt, answers, {{3}});
  const std::vector<tokens> first{{5, 6, 7}}, rest{{10, 11}};
  const auto want_first = model::answer_logprobs(*policy, prompt, first, 1, 1);
  const auto want_rest = model::answer_logprobs(*policy, tokens{8, 9}, rest, 1, 1);
  CHECK(std::vector(found.begin(), found.begin() + 3) == want_first);
  CHECK(found[3] == 0);
  CHECK(std::vector(found.begin() + 5, found.end()) == want_rest);
  CHECK(found != score(prompt, answers));
}

} // namespace segments_test
