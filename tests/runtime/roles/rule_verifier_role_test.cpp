#include "runtime/columns/column_builder.hpp"
#include "runtime/roles/rule_verifier_role.hpp"
#include "tests/runtime/roles/ask.hpp"
#include "tests/runtime/roles/fixture.hpp"

#include <doctest/doctest.h>

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
  CHECK(result.summary.at("reward") == doctest::Approx(1.5));
  CHECK(result.summary.at("reward.number") == doctest::Approx(0.5));
}

TEST_CASE("a row that cannot be scored at all is a complaint, columns that disagree are an error") {
  auto verifier = make_verifier();
  CHECK(!tests::add(verifier, expecting("no number here")).first.complaint.empty());
  CHECK(tests::add(verifier, columns::column_set(tests::reward_columns())).second.find("column 'text")
        != std::string::npos);
  CHECK(tests::add(verifier, columns::column_set(misshapen())).second
        == "columns 'text_lengths', 'lengths' and 'finish' have 2, 1 and 2 entries");
}

TEST_CASE("an answer whose scoring fails makes its group a complaint, never a zero") {
  const std::vector<std::int32_t> text_lengths{61, 2}, lengths{3, 1};
  const std::vector<std::uint8_t> finish{0, 0};
  const std::string text = std::string(60, 'a') + "cok";
  const auto answers = columns::column_builder()
                           .add(column::text, text)
                           .add(column::text_lengths, text_lengths)
                           .add(column::lengths, lengths)
                           .add(column::finish, finish)
                           .finish();
  auto p = tests::tiny_pipeline();
  auto table = std::get<pipeline::rule_verifier_table>(p.at("rules").options);
  table.rules = {{.type = "format", .name = "shape", .weight = 1, .options = {{"pattern", std::string("(a+)+")}}}};
  rule_verifier_role verifier(table, columns::wanted_by(p.at("rules")));
  const auto [result, error] = tests::add(verifier, columns::column_set({tests::prompt_columns("", "12"), answers}));
  CHECK(error.empty());
  CHECK(result.complaint.find("match limit exceeded") != std::string::npos);
}

TEST_CASE("greedy answers have no part in the verifier's means") {
  auto verifier = make_verifier();
  const std::vector<std::uint8_t> greedy{0, 1};
  const auto marks = columns::column_builder().add(column::greedy, greedy).finish();
  const auto [result, error] =
      tests::add(verifier, columns::column_set({tests::prompt_columns("", "12"), tests::rollout_columns(), marks}));
  CHECK(error.empty());
  CHECK(result.summary.at("reward") == doctest::Approx(2.5));
}

} // namespace rule_verifier_role_test
