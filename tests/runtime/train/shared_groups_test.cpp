#include "runtime/train/mask_old.hpp"
#include "runtime/train/shared_groups.hpp"
#include "runtime/train/step_columns.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

namespace shared_groups_test {

using namespace millrace;

namespace {

/// Two answers: 3 tokens of versions 4, 4, 5 whose second is masked, and one token that was truncated.
train::training_group a_group() {
  train::training_group group;
  group.id = 17;
  group.prompt = {1, 2, 3, 4};
  group.answers = {{10, 11, 12}, {}};
  group.mask = {{1, 0, 1}, {}};
  group.behaviour_logprob = {{-1.5F, -2.5F, -0.25F}, {}};
  group.ref_logprob = {{-1, -2, -3}, {}};
  group.version = {{4, 4, 5}, {}};
  group.reward = {0.5F, -1};
  group.parts = {{0.25F, -1}, {0.25F, 0}};
  group.domain = "sums";
  group.masked_tokens = 2;
  group.sampled = {{{4, 2, false}, {5, 1, true}}, {{4, 1, false}}};
  group.kept = {0, 3};
  group.baseline = {0.125F, 0.125F};
  group.origins["ref_logprob"] = {2, 1};
  return group;
}

template <class T>
std::vector<T> first_of(const std::vector<T>& column) {
  return std::vector<T>(1, column.front());
}

train::group_outline outline_of(const train::training_group& group) {
  const std::vector kept{std::make_shared<const train::training_group>(group)};
  return train::unpacked_outlines(train::packed_outlines(kept)).at(0);
}

} // namespace

TEST_CASE("an outline of a group has its lengths, masks, versions and rewards, and none of its tokens") {
  const auto whole = a_group();
  const auto [group, record] = outline_of(whole);
  CHECK(group.elsewhere);
  CHECK(group.id == 17);
  CHECK(group.prompt == std::vector<std::int32_t>(4));
  CHECK(group.answers == std::vector<std::vector<std::int32_t>>{{0, 0, 0}, {}});
  CHECK(group.behaviour_logprob == std::vector<std::vector<float>>{{0, 0, 0}, {}});
  CHECK(group.ref_logprob == group.behaviour_logprob);
  CHECK(group.mask == whole.mask);
  CHECK(group.version == whole.version);
  CHECK(group.reward == whole.reward);
  CHECK(group.parts == whole.parts);
  CHECK(group.baseline == whole.baseline);
  CHECK(group.domain == whole.domain);
  CHECK(group.masked_tokens == whole.masked_tokens);
  CHECK(record == train::lineage_of(whole));
}

TEST_CASE("an outline has as many words for a long answer as for a short one") {
  auto group = a_group();
  const auto words = [&] {
    const std::vector kept{std::make_shared<const train::training_group>(group)};
    const auto packed = train::packed_outlines(kept);
    return packed.words.size() + packed.numbers.size() + packed.tensors.size();
  };
  const auto before = words();
  group.answers[0].resize(1000, 7);
  group.mask[0].resize(1000, 1);
  group.behaviour_logprob[0].resize(1000, -1);
  group.ref_logprob[0].resize(1000, -1);
  group.version[0].resize(1000, 5);
  CHECK(words() == before);
}

TEST_CASE("a step describes outlines as it describes the groups") {
  auto whole = a_group();
  auto outline = outline_of(whole).group;
  for (const auto how : {age_mask::none, age_mask::tokens, age_mask::answers}) {
    const std::span wholes(&whole, 1), outlines(&outline, 1);
    CHECK(train::mask_old(wholes, how, 5) == train::mask_old(outlines, how, 5));
    const auto expected = train::gather_columns(wholes, 40), found = train::gather_columns(outlines, 40);
    CHECK(at::equal(expected.columns.length, found.columns.length));
    CHECK(at::equal(expected.columns.reward, found.columns.reward));
    CHECK(at::equal(expected.answers.version, found.answers.version));
    CHECK(expected.totals.tokens == found.totals.tokens);
    CHECK(train::to_json(train::describe(wholes, expected, 6)) == train::to_json(train::describe(outlines, found, 6)));
  }
}

TEST_CASE("an outline is not finite where the group is not") {
  auto whole = a_group();
  whole.ref_logprob[0][2] = std::numeric_limits<float>::infinity();
  const auto outline = outline_of(whole).group;
  CHECK(train::finite_groups(std::span(&outline, 1)).left_out() == std::vector<std::uint64_t>{17});
}

TEST_CASE("an episode has no outline") {
  auto whole = a_group();
  whole.played.resize(2);
  CHECK_THROWS_WITH_AS(outline_of(whole), doctest::Contains("group 17: an outline of an episode"),
                       std::invalid_argument);
}

TEST_CASE("the beginning of a group comes into its outline") {
  const auto whole = a_group();
  auto outline = outline_of(whole).group;
  const std::vector<std::size_t> tokens{2, 0};
  train::take_beginning(outline, tokens, train::packed_beginning(whole, tokens));
  CHECK(outline.answers[0] == std::vector<std::int32_t>{10, 11, 0});
  CHECK(outline.behaviour_logprob[0] == std::vector<float>{-1.5F, -2.5F, 0});
}

TEST_CASE("a rank has pieces of the groups that it keeps, and of those that others have handed it") {
  const auto whole = std::make_shared<const train::training_group>(a_group());
  const auto none = [](std::uint64_t) { return nullptr; };
  train::group_pieces keeper([&](std::uint64_t id) { return id == 17 ? whole : nullptr; }), other(none);
  const train::piece_name name{17, 0, 1};
  CHECK_THROWS_WITH_AS(other.at(name), doctest::Contains("group 17 is not kept here"), std::logic_error);
  const std::vector<train::piece_move> moves{{name, 2, 0}};
  const auto parcels = keeper.outgoing(train::moves_in(train::words_of(moves)), 2, 3);
  CHECK(parcels.at(1).words == std::vector<std::int64_t>{0});
  other.take({{}, {}, parcels.at(0)});
  for (const auto& piece : {keeper.at(name), other.at(name)}) {
    CHECK(piece.id == 17);
    CHECK(piece.prompt == whole->prompt);
    CHECK(piece.answers == first_of(whole->answers));
    CHECK(piece.mask == first_of(whole->mask));
    CHECK(piece.version == first_of(whole->version));
    CHECK(piece.behaviour_logprob == first_of(whole->behaviour_logprob));
    CHECK(piece.ref_logprob == first_of(whole->ref_logprob));
    CHECK(piece.reward == first_of(whole->reward));
  }
  other.take({});
  CHECK_THROWS_AS(other.at(name), std::logic_error);
  CHECK_THROWS_WITH_AS(keeper.at({17, 1, 2}), doctest::Contains("that it does not have"), std::logic_error);
}

TEST_CASE("tasks go to the rank that keeps most of their answers, one a rank in each round") {
  const std::map<std::uint64_t, int> keepers{{0, 0}, {1, 1}, {2, 0}, {3, 0}};
  const auto whole = [](std::uint64_t group) { return train::piece_name{group, 0, 4}; };
  const auto two = [](std::uint64_t group, std::int64_t first) { return train::piece_name{group, first, 2}; };
  const std::vector<std::vector<train::piece_name>> tasks{
      {whole(1)},
      {whole(0)}, // the other way round
      {two(2, 0), two(1, 0)},
      {whole(3)}, // both want the first rank: more of the second task is there
      {two(2, 2), two(3, 0), two(1, 2)},
      {two(0, 0)}, // again, of the first
      {whole(1)}}; // the last round is short
  const auto placed = train::places_of(tasks, keepers, 2);
  CHECK(placed == std::vector<int>{1, 0, 1, 0, 0, 1, 1});
  const std::vector<train::piece_move> moves{{two(0, 0), 0, 1}, {two(1, 2), 1, 0}, {two(2, 0), 0, 1}};
  CHECK((train::moves_to(tasks, placed, keepers) == moves));
  CHECK(train::places_of(tasks, {{0, 0}, {1, 0}, {2, 0}, {3, 0}}, 1) == std::vector<int>(7));
  CHECK_THROWS_WITH_AS(train::places_of(tasks, {{1, 0}}, 2), doctest::Contains("group 0 is kept by no rank"),
                       std::logic_error);
}

} // namespace shared_groups_test
