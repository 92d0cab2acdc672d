#include "runtime/columns/column_builder.hpp"
#include "runtime/columns/training_columns.hpp"
#include "tests/runtime/roles/fixture.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

namespace training_columns_test {

using namespace millrace;
using namespace millrace::columns;

namespace {

columns::column_set whole_group() {
  return columns::column_set({tests::rollout_columns(), tests::reward_columns()});
}

} // namespace

TEST_CASE("columns become a training group, answer by answer") {
  const auto group = columns::training_group_of(7, whole_group());
  CHECK(group.id == 7);
  CHECK(group.prompt == std::vector<std::int32_t>{5, 6, 7});
  CHECK(group.answers == std::vector<std::vector<std::int32_t>>{{10, 11, 12}, {20}});
  CHECK(group.behaviour_logprob == std::vector<std::vector<float>>{{-1, -2, -3}, {-4}});
  CHECK(group.version == std::vector<std::vector<std::uint32_t>>{{0, 0, 1}, {1}});
  CHECK(group.reward == std::vector<float>{1, 0});
  CHECK(group.ref_logprob.empty());
  const std::vector<float> reference{-9, -8, -7, -6};
  const auto with_reference = columns::training_group_of(
      7, columns::column_set({tests::rollout_columns(), tests::reward_columns(),
                              columns::column_builder().add(column::ref_logprob, reference).finish()}));
  CHECK(with_reference.ref_logprob == std::vector<std::vector<float>>{{-9, -8, -7}, {-6}});
}

TEST_CASE("a column that is missing, of another type or of another length is named") {
  CHECK_THROWS_WITH_AS(columns::training_group_of(7, columns::column_set(tests::rollout_columns())),
                       "column 'reward' is not among the group's columns", std::out_of_range);
  CHECK_THROWS_WITH_AS(
      columns::training_group_of(7, columns::column_set({tests::rollout_columns(), tests::reward_columns({1, 2, 3})})),
      "column 'reward' has 3 entries for 2 answers", std::invalid_argument);
  const std::vector<float> reference{-9};
  CHECK_THROWS_AS(columns::training_group_of(
                      7, columns::column_set({tests::rollout_columns(), tests::reward_columns(),
                                              columns::column_builder().add(column::ref_logprob, reference).finish()})),
                  std::invalid_argument);
  const std::vector<std::int32_t> not_float{1, 0};
  CHECK_THROWS_AS(
      columns::training_group_of(
          7, columns::column_set({tests::rollout_columns(),
                                  transport::bundle_builder().add<std::int32_t>("reward", not_float).finish()})),
      std::invalid_argument);
}

TEST_CASE("a greedy answer becomes the group's baseline and is no answer of it") {
  const auto with = [](std::vector<std::uint8_t> greedy) {
    return columns::column_set({tests::rollout_columns(), tests::reward_columns({1, 0.25}),
                                columns::column_builder().add(column::greedy, greedy).finish()});
  };
  const auto group = columns::training_group_of(7, with({0, 1}));
  CHECK(group.answers == std::vector<std::vector<std::int32_t>>{{10, 11, 12}});
  CHECK(group.behaviour_logprob.size() == 1);
  CHECK(group.version.size() == 1);
  CHECK(group.reward == std::vector<float>{1});
  CHECK(group.baseline == std::vector<float>{0.25});
  CHECK_THROWS_AS(columns::training_group_of(7, with({1, 0})), std::invalid_argument);
}

TEST_CASE("a group remembers which of the answers that were begun its own are") {
  const auto with = [](std::vector<std::int32_t> kept) {
    return columns::column_set({tests::rollout_columns(), tests::reward_columns({1, 0.25}),
                                columns::column_builder().add(column::kept, kept).finish()});
  };
  CHECK(columns::training_group_of(7, with({1, 4})).kept == std::vector<std::uint32_t>{1, 4});
  CHECK(columns::training_group_of(7, whole_group()).kept.empty());
  CHECK_THROWS_AS(columns::training_group_of(7, with({1})), std::invalid_argument);
}

TEST_CASE("masked answers keep their reward and lose their tokens, which are counted") {
  const auto group =
      columns::training_group_of(7, whole_group(), {.mask_truncated = true}); // the second answer was cut off
  CHECK(group.answers == std::vector<std::vector<std::int32_t>>{{10, 11, 12}, {}});
  CHECK(group.behaviour_logprob[1].empty());
  CHECK(group.reward == std::vector<float>{1, 0});
  CHECK(group.masked_tokens == 1);
  CHECK(columns::training_group_of(7, whole_group()).masked_tokens == 0);
}

TEST_CASE("an answer without a score is no answer of the group, and its tokens are counted as masked") {
  static const std::vector<std::int32_t> prompt{5}, tokens{10, 11, 20, 30}, lengths{2, 1, 1}, text_lengths{0, 0, 0};
  static const std::vector<std::uint8_t> mask{1, 0, 1, 1}, finish{0, 0, 0};
  static const std::vector<float> logprob{-1, -2, -3, -4};
  static const std::vector<std::uint32_t> version{0, 0, 1, 2};
  const float nothing = std::nanf("");
  const auto with = [&](const std::vector<float>& reward, const std::vector<std::uint8_t>& greedy = {}) {
    columns::column_builder builder;
    builder.add(column::prompt_tokens, prompt)
        .add(column::tokens, tokens)
        .add(column::mask, mask)
        .add(column::logprob, logprob)
        .add(column::version, version)
        .add(column::lengths, lengths)
        .add(column::finish, finish)
        .add(column::text, std::string())
        .add(column::text_lengths, text_lengths);
    if (!greedy.empty())
      builder.add(column::greedy, greedy);
    return columns::column_set({builder.finish(), tests::reward_columns(reward)});
  };
  const auto group = columns::training_group_of(7, with({nothing, 1, 0.5}));
  CHECK(group.answers == std::vector<std::vector<std::int32_t>>{{20}, {30}});
  CHECK(group.mask == std::vector<std::vector<std::uint8_t>>{{1}, {1}});
  CHECK(group.behaviour_logprob == std::vector<std::vector<float>>{{-3}, {-4}});
  CHECK(group.version == std::vector<std::vector<std::uint32_t>>{{1}, {2}});
  CHECK(group.reward == std::vector<float>{1, 0.5});
  CHECK(group.sampled.size() == 2);
  CHECK(group.kept == std::vector<std::uint32_t>{1, 2}); // where a replay finds them
  CHECK(group.masked_tokens == 2);                       // one of them was masked before
  CHECK_THROWS_WITH_AS(columns::training_group_of(7, with({nothing, 1, nothing})),
                       "1 of 3 answers have a score, want at least two", columns::too_few_scored);
  // With a baseline: the greedy answer goes last, and keeps its place.
  CHECK_THROWS_AS(columns::training_group_of(7, with({nothing, 1, 0.5}, {0, 0, 1})), columns::too_few_scored);
  const auto parts = columns::training_group_of(7, with({nothing, 1, 0.5}),
                                                {.rewards = {{.name = "number", .weight = 2, .normalise = "none"}}});
  CHECK(parts.parts == std::vector<std::vector<float>>{{1, 0.5}});
  CHECK(parts.reward == std::vector<float>{2, 1});
}

namespace {

/// A prompt's three episodes of two turns of a token each, with an observed token between them; the greedy one goes
/// last.
transport::bundle episodes_with_a_greedy_one() {
  const std::vector<std::int32_t> prompt{5}, tokens{10, 11, 12, 20, 21, 22, 30, 31, 32}, lengths{3, 3, 3};
  const std::vector<std::uint8_t> mask{1, 0, 1, 1, 0, 1, 1, 0, 1}, finish{0, 1, 1}, greedy{0, 0, 1};
  const std::vector<float> logprob(9, -1), rewards(6, 0);
  const std::vector<std::uint32_t> version(9, 0);
  const std::vector<std::int32_t> turns{2, 2, 2}, begins{0, 2, 0, 2, 0, 2}, ends{1, 3, 1, 3, 1, 3};
  const std::vector<std::uint8_t> anew{0, 1, 0, 0, 0, 1};
  return columns::column_builder()
      .add(column::prompt_tokens, prompt)
      .add(column::tokens, tokens)
      .add(column::mask, mask)
      .add(column::logprob, logprob)
      .add(column::version, version)
      .add(column::lengths, lengths)
      .add(column::finish, finish)
      .add(column::greedy, greedy)
      .add(column::turns, turns)
      .add(column::turn_begins, begins)
      .add(column::turn_ends, ends)
      .add(column::turn_reward, rewards)
      .add(column::turn_new_segment, anew)
      .finish();
}

} // namespace

TEST_CASE("of episodes that were cut off those that are trained count as masked, by the tokens that were sampled") {
  const columns::column_set all({episodes_with_a_greedy_one(), tests::reward_columns({1, 0.5, 0.25})});
  const auto group = columns::training_group_of(7, all, {.mask_truncated = true});
  CHECK(group.answers == std::vector<std::vector<std::int32_t>>{{10, 11, 12}, {}});
  CHECK(group.masked_tokens == 2);
}

TEST_CASE("turns and segments are counted of the group's answers, not of the greedy one") {
  const auto group = columns::training_group_of(
      7, columns::column_set({episodes_with_a_greedy_one(), tests::reward_columns({1, 0.5, 0.25})}));
  CHECK(group.turns_written == 4);
  CHECK(group.segments_written == 3); // the first answer has two
}

TEST_CASE("a group is flat where all its rewards are the same") {
  CHECK(columns::is_flat(
      columns::training_group_of(7, columns::column_set({tests::rollout_columns(), tests::reward_columns({1, 1})}))));
  CHECK_FALSE(columns::is_flat(columns::training_group_of(7, whole_group())));
}

} // namespace training_columns_test
