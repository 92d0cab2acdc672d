#include "runtime/columns/answer_columns.hpp"

#include <doctest/doctest.h>

#include <map>
#include <stdexcept>
#include <vector>

namespace answer_columns_test {

using namespace millrace;
using namespace millrace::columns;

TEST_CASE("what was handed over comes back as it was") {
  rollout::partial_group group{9,
                               {{{10, 11, 12}, {-1, -2, -3}, {4, 4, 5}, {2}, rollout::finish_reason::stop, ""},
                                {},
                                {{20}, {-4}, {5}, {}, rollout::finish_reason::length, ""}},
                               {1, 0, 0}};
  const auto again = columns::partial_of(9, columns::column_set(columns::columns_of(group)));
  CHECK(again.group == 9);
  CHECK(again.ended == group.ended);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(again.answers[i].tokens == group.answers[i].tokens);
    CHECK(again.answers[i].logprob == group.answers[i].logprob);
    CHECK(again.answers[i].version == group.answers[i].version);
    CHECK(again.answers[i].recomputed == group.answers[i].recomputed);
  }
  CHECK(again.answers[0].finish == rollout::finish_reason::stop);
  CHECK_THROWS_AS(columns::partial_of(9, columns::column_set(columns::columns_of({1}, rollout::finished_group{}))),
                  std::out_of_range);
}

TEST_CASE("a group's columns hold its answers one after another, and its tokens are counted by version") {
  rollout::finished_group group;
  group.answers = {{{10, 11, 12}, {-1, -2, -3}, {4, 4, 5}, {}, rollout::finish_reason::stop, "ab"},
                   {{}, {}, {}, {}, rollout::finish_reason::length, ""},
                   {{20}, {-4}, {5}, {}, rollout::finish_reason::length, "c"}};
  const columns::column_set columns(columns::columns_of({1, 2}, group));
  const auto values = [&]<class Column>(const Column& column) {
    const auto view = columns.view(column);
    return std::vector<typename Column::element>(view.begin(), view.end());
  };
  CHECK(values(column::prompt_tokens) == std::vector<std::int32_t>{1, 2});
  CHECK(values(column::tokens) == std::vector<std::int32_t>{10, 11, 12, 20});
  CHECK(values(column::mask) == std::vector<std::uint8_t>{1, 1, 1, 1});
  CHECK(values(column::logprob) == std::vector<float>{-1, -2, -3, -4});
  CHECK(values(column::version) == std::vector<std::uint32_t>{4, 4, 5, 5});
  CHECK(values(column::lengths) == std::vector<std::int32_t>{3, 0, 1});
  CHECK(values(column::finish) == std::vector<std::uint8_t>{0, 1, 1});
  CHECK(values(column::text) == std::vector<char>{'a', 'b', 'c'});
  CHECK(values(column::text_lengths) == std::vector<std::int32_t>{2, 0, 1});
  CHECK(columns::tokens_by_version(group.answers) == std::map<std::uint32_t, std::int64_t>{{4, 2}, {5, 2}});
  CHECK_FALSE(columns.has(column::kept));
  group.kept = {0, 2, 5};
  const columns::column_set with_kept(columns::columns_of({1, 2}, group));
  const auto kept = with_kept.view(column::kept);
  CHECK(std::vector<std::int32_t>(kept.begin(), kept.end()) == group.kept);
}

TEST_CASE("what an environment said is masked, sampled by nobody and counted for no version") {
  rollout::finished_group group;
  group.answers = {{{10, 11, 12, 13, 14}, {-1, -2, 0, 0, -5}, {4, 4, 5, 5, 6}, {}, rollout::finish_reason::stop, "b"},
                   {{20, 21}, {-4, -6}, {5, 7}, {}, rollout::finish_reason::length, "c"}};
  group.answers[0].turns = {{.begin = 0, .end = 2, .reward = 0.5}, {.begin = 4, .end = 5, .reward = 1}};
  group.answers[1].turns = {{.begin = 0, .end = 2, .reward = -1}};
  const columns::column_set columns(columns::columns_of({1, 2}, group));
  const auto mask = columns.view(column::mask);
  CHECK(std::vector<std::uint8_t>(mask.begin(), mask.end()) == std::vector<std::uint8_t>{1, 1, 0, 0, 1, 1, 1});
  const auto turns = columns::turns_in(columns);
  REQUIRE(turns.size() == 2);
  CHECK((turns[0] == group.answers[0].turns));
  CHECK((turns[1] == group.answers[1].turns));
  CHECK(columns::tokens_by_version(group.answers)
        == std::map<std::uint32_t, std::int64_t>{{4, 2}, {5, 1}, {6, 1}, {7, 1}});
  CHECK(columns::tokens_by_oldest_version(group, 0) == std::map<std::uint32_t, std::int64_t>{{4, 3}, {5, 2}});
  rollout::partial_group begun{9, group.answers, {0, 0}};
  begun.answers[1].turns[0].end = -1;
  const auto again = columns::partial_of(9, columns::column_set(columns::columns_of(begun)));
  for (std::size_t i = 0; i < 2; ++i)
    CHECK((again.answers[i].turns == begun.answers[i].turns));
}

} // namespace answer_columns_test
