#include "runtime/train/micro_batch_task.hpp"
#include "runtime/train/micro_batches.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

namespace micro_batches_test {

using namespace millrace::train;

namespace {

training_group group(std::size_t prompt, std::initializer_list<std::size_t> answers) {
  training_group g;
  g.prompt.assign(prompt, 1);
  for (const auto length : answers)
    g.answers.emplace_back(length, 2);
  return g;
}

millrace::collective::parcel packed_task_of(std::span<const training_group> groups, const micro_batch& batch) {
  return packed(task_of(micro_batch_task::kind::policy, groups, batch));
}

} // namespace

TEST_CASE("a group is cut between answers and its prompt is fed again") {
  // rows: 10 + 4 + 4 = 18, and a third answer would make 22
  const std::vector<training_group> groups = {group(10, {5, 5, 5}), group(3, {1, 0})};
  const auto cut = cut_micro_batches(groups, {20});
  REQUIRE(cut.size() == 2);
  CHECK(cut[0].fed_tokens == 18);
  CHECK(cut[0].tokens == 10);
  CHECK(cut[0].answers == 2);
  CHECK(cut[1].fed_tokens == 10 + 4 + 3);
  CHECK(cut[1].first_token == 10);
  CHECK(cut[1].first_answer == 2);
  CHECK(cut[1].tokens == 6);
  REQUIRE(cut[1].parts.size() == 2);
  CHECK(cut[1].parts[0].first_answer == 2);
  CHECK(cut[1].parts[0].answers == 1);
  CHECK(cut[1].parts[1].group == 1);
  CHECK(cut[1].parts[1].answers == 2);
}

TEST_CASE("an update is cut again by another budget as if it had been cut so at first") {
  const std::vector<training_group> groups = {group(10, {5, 5, 5}), group(3, {1, 0}), group(4, {8, 8}), group(2, {30})};
  auto parts = cut_updates(groups, 2, {40, millrace::algorithms::unit::answer});
  const auto wanted = cut_updates(groups, 2, {12, millrace::algorithms::unit::answer});
  CHECK(parts[1].micro_batches.size() == 2);
  for (std::size_t u = 0; u < 2; ++u) {
    cut_again(parts[u], groups, {12, millrace::algorithms::unit::answer});
    CHECK(parts[u].rule.budget == 12);
    REQUIRE(parts[u].micro_batches.size() == wanted[u].micro_batches.size());
    for (std::size_t i = 0; i < wanted[u].micro_batches.size(); ++i) {
      const auto &found = parts[u].micro_batches[i], &want = wanted[u].micro_batches[i];
      CHECK(found.first_token == want.first_token);
      CHECK(found.first_answer == want.first_answer);
      CHECK(found.fed_tokens == want.fed_tokens);
      CHECK(found.parts.front().group == want.parts.front().group);
    }
  }
}

TEST_CASE("an answer longer than the budget makes a micro-batch of its own") {
  const std::vector<training_group> groups = {group(2, {3, 50, 3})};
  const auto cut = cut_micro_batches(groups, {8});
  REQUIRE(cut.size() == 3);
  CHECK(cut[1].fed_tokens == 51);
}

TEST_CASE("every answer is in exactly one micro-batch, in order, whatever the budget") {
  const std::vector<training_group> groups = {group(4, {3, 9, 1, 0, 7}), group(1, {}), group(6, {2, 2, 30})};
  for (std::int64_t budget = 1; budget < 100; ++budget) {
    std::int64_t tokens = 0, answers = 0;
    for (const auto& batch : cut_micro_batches(groups, {budget})) {
      CHECK(batch.first_token == tokens);
      CHECK(batch.first_answer == answers);
      CHECK((batch.fed_tokens <= budget || batch.answers == 1));
      tokens += batch.tokens;
      answers += batch.answers;
    }
    CHECK(tokens == 54);
    CHECK(answers == 8);
  }
}

TEST_CASE("whole groups are never cut, and one beyond the budget stands alone") {
  const std::vector<training_group> groups = {group(2, {3, 3}), group(2, {40, 40}), group(2, {3, 3}), group(2, {3})};
  const auto cut = cut_micro_batches(groups, {12, millrace::algorithms::unit::group});
  REQUIRE(cut.size() == 3); // 6, 80, 6 + 4 fed tokens
  CHECK(cut[0].fed_tokens == 6);
  CHECK(cut[1].fed_tokens == 80);
  CHECK(cut[1].parts.size() == 1);
  CHECK(cut[1].answers == 2);
  CHECK(cut[2].parts.size() == 2);
  CHECK(cut[2].first_token == 86);
}

TEST_CASE("updates are parts of whole groups with denominators of their own, counted in the whole step") {
  const std::vector<training_group> groups = {group(2, {3, 0}), group(1, {2}), group(1, {4, 1})};
  const auto parts = cut_updates(groups, 2, {1000, millrace::algorithms::unit::answer});
  REQUIRE(parts.size() == 2);
  CHECK(parts[0].totals.tokens == 3);
  CHECK(parts[0].totals.answers == 1);
  CHECK(parts[0].totals.groups == 1);
  CHECK(parts[1].totals.tokens == 7);
  CHECK(parts[1].totals.answers == 3);
  CHECK(parts[1].totals.groups == 2);
  REQUIRE(parts[1].micro_batches.size() == 1);
  CHECK(parts[1].micro_batches[0].first_token == 3);
  CHECK(parts[1].micro_batches[0].first_answer == 2);
  CHECK(parts[1].micro_batches[0].parts[0].group == 1);
  CHECK(cut_updates(groups, 10, {1000, millrace::algorithms::unit::answer}).size() == 3);
}

TEST_CASE("segments are fed as sequences of their own, in the order of their answers") {
  training_group g;
  g.prompt = {1, 2};
  g.answers = {{10, 11, 12, 13, 14, 15}, {20, 21}, {30, 31, 32}};
  g.mask = {{1, 1, 0, 0, 1, 1}, {1, 1}, {1, 0, 1}};
  g.segments = {{2}, {}, {1}};
  const std::vector<training_group> groups = {g};
  const auto cut = cut_micro_batches(groups, {1000});
  REQUIRE(cut.size() == 1);
  CHECK(cut[0].fed_tokens == 2 + (1 + 3) + 1 + (0 + 1));
  CHECK(cut[0].tokens == 8);
  const auto packed = pack_part(groups, cut[0]);
  const auto listed = [](const at::Tensor& t) {
    return std::vector<std::int64_t>(t.data_ptr<std::int64_t>(), t.data_ptr<std::int64_t>() + t.numel());
  };
  CHECK(listed(packed.tokens) == std::vector<std::int64_t>{1, 2, 10, 20, 12, 13, 14, 31});
  CHECK(listed(packed.positions) == std::vector<std::int64_t>{0, 1, 2, 2, 0, 1, 2, 0});
  CHECK(listed(packed.targets) == std::vector<std::int64_t>{10, 11, 14, 15, 20, 21, 30, 32});
  CHECK(listed(packed.rows) == std::vector<std::int64_t>{1, 2, 5, 6, 1, 3, 1, 7});
  CHECK(packed.tokens.numel() == cut[0].fed_tokens);

  const auto task = unpacked_task(packed_task_of(groups, cut[0]));
  CHECK(task.groups.at(0).segments == g.segments);
  CHECK(listed(pack_part(task.groups, task.batch).rows) == listed(packed.rows));
}

} // namespace micro_batches_test
