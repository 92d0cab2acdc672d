#include "runtime/columns/column_builder.hpp"
#include "runtime/roles/rule_verifier_role.hpp"
#include "tests/runtime/roles/ask.hpp"
#include "tests/runtime/roles/fixture.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

namespace rule_verifier_role_test {

using namespace millrace;
using namespace millrace::roles;

namespace {

rule_verifier_role make_verifier() {
  const auto p = tests::tiny_pipeline();
  return {std::get<pipeline::rule_verifier_table>(p.at("rules").options), columns::wanted_by(p.at("rules"))};
}

/// A group of a row that expects this answer.
columns::column_set expecting(const std::string& answer) {
  return columns::column_set({tests::prompt_columns("", answer), tests::rollout_columns()});
}

/// Text columns that disagree about how many answers there are.
transport::bundle misshapen() {
  static const std::vector<std::int32_t> text_lengths{1, 1}, lengths{1};
  static const std::vector<std::uint8_t> finish{0, 0};
  static const std::string text = "12";
  return columns::column_builder()
      .add(column::text, text)
      .add(column::text_lengths, text_lengths)
      .add(column::lengths, lengths)
      .add(column::finish, finish)
      .finish();
}

} // namespace

TEST_CASE("the verifier adds the weighted reward and each rule's own") {
  auto verifier = make_verifier();
  // The texts are "12" and "7", of three tokens and one: number has weight 2, length at most 3 has 0.5.
  const auto [result, error] = tests::add(verifier, expecting("12"));
  CHECK(error.empty());
  CHECK(result.complaint.empty());
  CHECK(tests::values(result.columns, column::reward) == std::vector<float>{2.5f, 0.5f});
  CHECK(tests::values(result.columns, column::reward_of("number")) == std::vector<float>{1, 0});
  CHECK(tests::values(result.columns, column::reward_of("length")) == std::vector<float>{1, 1});
  CHECK(result.summary.at("reward") == summed{3, 2});
  CHECK(result.summary.at("reward.number") == summed{1, 2});
}

TEST_CASE("a row that cannot be scored at all is a complaint, columns that disagree are an error") {
  auto verifier = make_verifier();
  CHECK(!tests::add(verifier, expecting("no number here")).first.complaint.empty());
  CHECK(tests::add(verifier, columns::column_set(tests::reward_columns())).second.find("column 'text")
        != std::string::npos);
  CHECK(tests::add(verifier, columns::column_set(misshapen())).second
        == "columns 'text_lengths', 'lengths' and 'finish' have 2, 1 and 2 entries");
}

namespace {

/// What a rule gives that fails on the answer "X" and gives 1 or 0 for others.
added_columns scored_with(const std::string& failed, const std::vector<std::string>& texts, bool greedy_last = false) {
  std::vector<std::int32_t> text_lengths, lengths;
  std::string text;
  for (const auto& one : texts) {
    std::string whole = one;
    if (one == "X")
      whole.assign(60, 'a').push_back('c'); // too much for the pattern
    text += whole;
    text_lengths.push_back(static_cast<std::int32_t>(whole.size()));
    lengths.push_back(1);
  }
  const std::vector<std::uint8_t> finish(texts.size(), 0);
  std::vector<std::uint8_t> greedy(texts.size(), 0);
  greedy.back() = greedy_last;
  columns::column_builder answers;
  answers.add(column::text, text)
      .add(column::text_lengths, text_lengths)
      .add(column::lengths, lengths)
      .add(column::finish, finish);
  if (greedy_last)
    answers.add(column::greedy, greedy);
  const auto p = tests::tiny_pipeline();
  auto table = std::get<pipeline::rule_verifier_table>(p.at("rules").options);
  table.failed = failed;
  table.rules = {{.type = "format", .name = "shape", .weight = 1, .options = {{"pattern", std::string("(a+)+")}}}};
  rule_verifier_role verifier(table, columns::wanted_by(p.at("rules")));
  const auto [result, error] =
      tests::add(verifier, columns::column_set({tests::prompt_columns("", "12"), answers.finish()}));
  CHECK(error.empty());
  return result;
}

} // namespace

TEST_CASE("an answer whose scoring fails makes its group a complaint, never a zero") {
  const auto result = scored_with("drop", {"aa", "X", "b", "X"});
  CHECK(result.complaint.find("match limit exceeded") != std::string::npos);
  CHECK(result.scores.answers == 4);
  CHECK(result.scores.lost == 2);
  CHECK(result.scores.failures == std::map<std::string, std::int64_t>{{"refused", 2}});
  CHECK(scored_with("drop", {"aa", "b"}).scores == scoring_outcome{.answers = 2});
}

TEST_CASE("with failed = mask an answer whose scoring fails has no reward, and no part in any mean") {
  const auto result = scored_with("mask", {"aa", "X", "b"});
  CHECK(result.complaint == "");
  for (const auto& column : {std::string(column::reward.name), std::string("reward.shape")}) {
    const auto values = tests::values(result.columns, typed_column<float, std::string>{column});
    CHECK(values[0] == 1);
    CHECK(std::isnan(values[1]));
    CHECK(values[2] == 0);
    CHECK(result.summary.at(column) == summed{1, 2});
  }
  CHECK(result.scores.lost == 1);
  CHECK(result.scores.first.find("match limit exceeded") != std::string::npos);
}

TEST_CASE("with failed = mask a group is dropped that keeps fewer than two answers, or loses its baseline") {
  CHECK(
      scored_with("mask", {"aa", "X", "X"}).complaint.starts_with("1 of its answers have a score, want at least two"));
  CHECK(scored_with("mask", {"X", "X"}).complaint.starts_with("0 of its answers"));
  CHECK(scored_with("mask", {"aa", "b", "X", "aa"}, true).complaint == "");
  CHECK(scored_with("mask", {"aa", "X", "aa"}, true).complaint.starts_with("1 of its answers"));
  CHECK(scored_with("mask", {"aa", "b", "X"}, true).complaint.find("match limit exceeded") != std::string::npos);
}

TEST_CASE("each rule that cannot be used is named at its place in the pipeline's file") {
  const auto p = tests::tiny_pipeline({R"(roles.rules.rules=[{type="exact"},{type="python",file="/no/such.py"}])"});
  const auto rules = rules_of(std::get<pipeline::rule_verifier_table>(p.at("rules").options).rules);
  std::string said;
  try {
    start(*rules, p, "rules");
  } catch (const pipeline::pipeline_errors& errors) {
    said = errors.what();
  }
  CHECK(said.starts_with("--set roles.rules.rules="));
  CHECK(said.ends_with(": roles.rules.rules.1: rule python: found no file /no/such.py, want one with the function"));
}

TEST_CASE("greedy answers have no part in the verifier's means") {
  auto verifier = make_verifier();
  const std::vector<std::uint8_t> greedy{0, 1};
  const auto marks = columns::column_builder().add(column::greedy, greedy).finish();
  const auto [result, error] =
      tests::add(verifier, columns::column_set({tests::prompt_columns("", "12"), tests::rollout_columns(), marks}));
  CHECK(error.empty());
  CHECK(result.summary.at("reward") == summed{2.5, 1});
}

} // namespace rule_verifier_role_test
