#include "runtime/model/checkpoint.hpp"
#include "runtime/train/shown_groups.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace shown_groups_test {

using namespace millrace;
using namespace millrace::train;

namespace {

std::shared_ptr<const text::tokenizer> words() {
  static const auto tok = model::load_checkpoint("tests/golden/models/tiny-chat", {.weights = false}).tok;
  return tok;
}

/// A group whose answers are the same text, that many times over.
training_group group_of(std::uint64_t id, const std::string& text, std::initializer_list<int> repeats) {
  training_group group;
  group.id = id;
  group.prompt = {1};
  for (const int times : repeats) {
    auto& answer = group.answers.emplace_back();
    for (int i = 0; i < times; ++i)
      for (const auto token : words()->encode(text))
        answer.push_back(token);
    group.behaviour_logprob.emplace_back(answer.size(), -1.0f);
    group.version.emplace_back(answer.size(), 3u);
  }
  return group;
}

std::string joined(const shown_answer& answer) {
  std::string text;
  for (const auto& word : answer.text)
    text += word;
  return text;
}

} // namespace

TEST_CASE("each token is shown with its text and the log-probabilities of who sampled and of who trained it") {
  const std::vector groups{group_of(7, "12 é€", {1, 0, 2})};
  const auto tokens = groups[0].answers[0].size();
  std::vector<float> policy;
  for (std::size_t i = 0; i < 3 * tokens; ++i)
    policy.push_back(-static_cast<float>(i));
  const auto shown = shown_groups_of(groups, policy, {}, words());
  REQUIRE(shown.size() == 1);
  CHECK(shown[0].group == 7);
  REQUIRE(shown[0].answers.size() == 3);
  CHECK(joined(shown[0].answers[0]) == "12 é€"); // its characters may be cut between tokens
  CHECK(shown[0].answers[1] == shown_answer{});
  CHECK(joined(shown[0].answers[2]) == "12 é€12 é€");
  const auto& last = shown[0].answers[2];
  CHECK(last.logprob == std::vector<float>(2 * tokens, -1.0f));
  CHECK(last.version == std::vector<std::uint32_t>(2 * tokens, 3u));
  CHECK(last.policy_logprob == std::vector<float>(policy.begin() + static_cast<std::ptrdiff_t>(tokens), policy.end()));
}

TEST_CASE("groups that were left out, and tokens that were not computed or are masked, take no log-probability") {
  auto masked = group_of(3, "123", {1});
  const auto tokens = masked.answers[0].size();
  REQUIRE(tokens >= 2);
  masked.mask = {std::vector<std::uint8_t>(tokens, 1)};
  masked.mask[0][0] = 0;
  const std::vector groups{group_of(1, "9", {1}), masked, group_of(4, "9", {1})};
  const auto shown =
      shown_groups_of(groups, std::vector<float>(tokens - 1, -2.0f), std::vector<std::uint64_t>{1}, words());
  REQUIRE(shown.size() == 2);
  CHECK(shown[0].group == 3);
  const auto& of_policy = shown[0].answers[0].policy_logprob;
  CHECK(std::isnan(of_policy[0]));
  CHECK(of_policy[1] == -2.0f);
  CHECK(of_policy.back() == -2.0f);
  CHECK(shown[1].group == 4);
  CHECK(std::isnan(shown[1].answers[0].policy_logprob[0]));
}

TEST_CASE("what is shown is bounded, whatever the answers' lengths, and short answers leave room to long ones") {
  const std::vector groups{group_of(1, "1", {9000, 2, 9000}), group_of(2, "1", {9000}), group_of(3, "1", {1})};
  const auto shown = shown_groups_of(groups, {}, {}, words());
  REQUIRE(shown.size() == shown_group::most_groups);
  for (const auto& group : shown) {
    std::size_t tokens = 0;
    for (const auto& answer : group.answers)
      tokens += answer.text.size();
    CHECK(tokens == shown_group::most_tokens);
  }
  CHECK(shown[0].answers[0].text.size() == shown_group::most_tokens / 3);
  CHECK(shown[0].answers[2].text.size() > shown_group::most_tokens / 2);
}

TEST_CASE("without a tokenizer nothing is shown") {
  CHECK(shown_groups_of(std::vector{group_of(1, "1", {1})}, {}, {}, nullptr).empty());
}

} // namespace shown_groups_test
