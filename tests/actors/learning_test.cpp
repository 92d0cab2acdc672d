#include "actors/learning.hpp"

#include "actors/weights_bundle.hpp"
#include "runtime/input_error.hpp"
#include "runtime/train/lineage.hpp"
#include "tests/actors/fixture.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>

#include <doctest/doctest.h>

#include <random>
#include <stdexcept>

using namespace millrace;
using namespace millrace::actors;

namespace {

column_set whole_group() { return column_set({tests::rollout_columns(), tests::reward_columns()}); }

/// A group of four answers of one to six tokens with random rewards.
train::training_group some_group(std::uint64_t id) {
  std::mt19937_64 random(id);
  train::training_group group;
  group.id = id;
  group.prompt = {3, 4, 5};
  for (int a = 0; a < 4; ++a) {
    auto& answer = group.answers.emplace_back(1 + random() % 6);
    for (auto& token : answer)
      token = static_cast<std::int32_t>(random() % 300);
    group.behaviour_logprob.emplace_back(answer.size(), -5.0f);
    group.version.emplace_back(answer.size(), 0u);
    group.reward.push_back(static_cast<float>(random() % 3));
  }
  return group;
}

bool same(const transport::bundle& a, const transport::bundle& b) { return a.checksum() == b.checksum(); }

/// Groups 10 * step and 10 * step + 1, as version step - 1 trained them.
batch_report train_step(learning& learner, std::uint64_t step) {
  for (const auto id : {10 * step, 10 * step + 1})
    learner.keep(some_group(id));
  return learner.train({step, static_cast<std::uint32_t>(step - 1), {10 * step, 10 * step + 1}}, {});
}

} // namespace

TEST_CASE("columns become a training group, answer by answer") {
  const auto group = training_group_of(7, whole_group());
  CHECK(group.id == 7);
  CHECK(group.prompt == std::vector<std::int32_t>{5, 6, 7});
  CHECK(group.answers == std::vector<std::vector<std::int32_t>>{{10, 11, 12}, {20}});
  CHECK(group.behaviour_logprob == std::vector<std::vector<float>>{{-1, -2, -3}, {-4}});
  CHECK(group.version == std::vector<std::vector<std::uint32_t>>{{0, 0, 1}, {1}});
  CHECK(group.reward == std::vector<float>{1, 0});
  CHECK(group.ref_logprob.empty());
  const std::vector<float> reference{-9, -8, -7, -6};
  const auto with_reference = training_group_of(
      7, column_set({tests::rollout_columns(), tests::reward_columns(),
                     transport::bundle_builder().add<float>("ref_logprob", reference).finish()}));
  CHECK(with_reference.ref_logprob == std::vector<std::vector<float>>{{-9, -8, -7}, {-6}});
}

TEST_CASE("a column that is missing, of another type or of another length is named") {
  CHECK_THROWS_WITH_AS(training_group_of(7, column_set({tests::rollout_columns()})),
                       "column 'reward' is not among the group's columns", std::out_of_range);
  CHECK_THROWS_WITH_AS(training_group_of(7, column_set({tests::rollout_columns(), tests::reward_columns({1, 2, 3})})),
                       "column 'reward' has 3 entries for 2 answers", std::invalid_argument);
  const std::vector<float> reference{-9};
  CHECK_THROWS_AS(training_group_of(7, column_set({tests::rollout_columns(), tests::reward_columns(),
                                                   transport::bundle_builder().add<float>("ref_logprob", reference).finish()})),
                  std::invalid_argument);
  const std::vector<std::int32_t> not_float{1, 0};
  CHECK_THROWS_AS(training_group_of(7, column_set({tests::rollout_columns(),
                                                   transport::bundle_builder().add<std::int32_t>("reward", not_float).finish()})),
                  std::invalid_argument);
}

TEST_CASE("a step trains its groups once and makes the next version") { // PO-2
  learning learner(tests::tiny_pipeline(), "", 1);
  const auto before = learner.snapshot(0);
  const auto report = train_step(learner, 1);
  CHECK(report.step == 1);
  CHECK(!report.interrupted);
  CHECK(!report.skipped);
  std::int64_t tokens = 0;
  for (const auto id : {10, 11})
    for (const auto& answer : some_group(static_cast<std::uint64_t>(id)).answers)
      tokens += static_cast<std::int64_t>(answer.size());
  CHECK(report.trained_tokens == tokens);
  CHECK(!same(learner.snapshot(1), before));
  CHECK_THROWS_AS(learner.snapshot(0), std::logic_error);
  CHECK_THROWS_WITH_AS(learner.train({2, 1, {10}}, {}), "group 10 was never fetched", std::logic_error);
}

TEST_CASE("a step in parts makes one version, and what it says at its end is of all of them") {
  learning parts(tests::tiny_pipeline(), "", 1);
  const auto before = parts.snapshot(0);
  for (const auto id : {10, 11, 12})
    parts.keep(some_group(static_cast<std::uint64_t>(id)));
  const auto first = parts.train({1, 0, {10}, 0, false}, {});
  CHECK(first.metrics.empty());
  CHECK(first.trained_tokens > 0);
  CHECK(same(parts.snapshot(0), before)); // PO-4
  CHECK_THROWS_AS(parts.snapshot(1), std::logic_error);
  const tests::temporary_folder folder;
  parts.write_checkpoint(folder.path());
  learning resumed(tests::tiny_pipeline(), folder.path(), 1);
  CHECK(same(resumed.snapshot(0), before));
  std::stop_source stop;
  stop.request_stop();
  CHECK(parts.train({1, 0, {11}, 1, false}, stop.get_token()).interrupted);
  for (auto* learner : {&parts, &resumed}) {
    for (const auto id : {11, 12})
      learner->keep(some_group(static_cast<std::uint64_t>(id)));
    learner->train({1, 0, {11}, 1, false}, {});
    const auto last = learner->train({1, 0, {12}, 2, true}, {});
    CHECK(last.metrics.at("updates") == 3);
    double reward = 0, tokens = 0;
    for (const auto id : {10, 11, 12}) {
      const auto group = some_group(static_cast<std::uint64_t>(id));
      for (std::size_t a = 0; a < 4; ++a) {
        reward += group.reward[a] / 12;
        tokens += static_cast<double>(group.answers[a].size()) / 12;
      }
    }
    CHECK(last.metrics.at("reward") == doctest::Approx(reward));
    CHECK(last.metrics.at("response_length/mean") == doctest::Approx(tokens));
  }
  CHECK(same(parts.snapshot(1), resumed.snapshot(1)));
}

TEST_CASE("a step whose other groups were lost ends with the parts it had") {
  learning learner(tests::tiny_pipeline(), "", 1);
  learner.keep(some_group(10));
  const auto first = learner.train({1, 0, {10}, 0, false}, {});
  const auto last = learner.train({1, 0, {}, 1, true}, {});
  CHECK(last.trained_tokens == 0);
  CHECK(last.metrics.at("updates") == 1);
  learner.snapshot(1);
  const auto recorded = train::step_lineage_from(last.lineage);
  CHECK(recorded.ends_step);
  CHECK(recorded.part == 1);
  CHECK(recorded.groups.empty());
}

TEST_CASE("what is too old is counted as masked, and the rest as trained") {
  learning learner(tests::tiny_pipeline(), "", 1);
  auto old = some_group(10);
  old.version[0].assign(old.answers[0].size(), 1);
  const auto of_first = static_cast<std::int64_t>(old.answers[0].size());
  std::int64_t all = 0;
  for (const auto& answer : old.answers)
    all += static_cast<std::int64_t>(answer.size());
  learner.keep(old);
  const auto report = learner.train({3, 2, {10}, 0, true, train::age_mask::answers, 1}, {});
  CHECK(report.trained_tokens == of_first);
  CHECK(report.masked_tokens == all - of_first);
  CHECK(report.metrics.at("staleness/max") == 1);
  CHECK(report.metrics.at("staleness/1/tokens") == of_first);
  CHECK(report.metrics.at("staleness/1/reward") == old.reward[0]);
  CHECK(!report.metrics.contains("staleness/2/tokens"));
}

TEST_CASE("an interrupted step changes nothing and keeps its groups") {
  learning learner(tests::tiny_pipeline(), "", 1), calm(tests::tiny_pipeline(), "", 1);
  const auto before = learner.snapshot(0);
  for (const auto id : {10, 11})
    learner.keep(some_group(static_cast<std::uint64_t>(id)));
  std::stop_source stop;
  stop.request_stop();
  CHECK(learner.train({1, 0, {10, 11}}, stop.get_token()).interrupted);
  CHECK(same(learner.snapshot(0), before));
  CHECK(!learner.train({1, 0, {10, 11}}, {}).interrupted);
  train_step(calm, 1);
  CHECK(same(learner.snapshot(1), calm.snapshot(1)));
}

TEST_CASE("a step whose loss is not finite is skipped, uses its groups up and still makes a version") {
  auto p = tests::tiny_pipeline();
  for (auto& role : p.roles)
    if (auto* policy = std::get_if<pipeline::policy_table>(&role.options)) {
      policy->loss.kl_coefficient = 1e38;
      policy->loss.kl_estimator = "k2";
    }
  learning learner(p, "", 1);
  const auto before = learner.snapshot(0);
  auto group = some_group(10);
  for (const auto& answer : group.answers)
    group.ref_logprob.emplace_back(answer.size(), -1e30f);
  learner.keep(group);
  const auto report = learner.train({1, 0, {10}}, {});
  CHECK(report.skipped);
  CHECK(!report.complaint.empty());
  CHECK(same(learner.snapshot(1), before));
  CHECK_THROWS_AS(learner.train({2, 1, {10}}, {}), std::logic_error);
}

TEST_CASE("a forgotten group is gone") {
  learning learner(tests::tiny_pipeline(), "", 1);
  learner.keep(some_group(10));
  learner.forget(10);
  learner.forget(11);
  CHECK_THROWS_AS(learner.train({1, 0, {10}}, {}), std::logic_error);
}

TEST_CASE("training goes on from a checkpoint bit for bit") {
  const tests::temporary_folder folder;
  const auto p = tests::tiny_pipeline();
  learning whole(p, "", 1);
  train_step(whole, 1);
  train_step(whole, 2);
  whole.write_checkpoint(folder.path());
  learning resumed(p, folder.path(), 1);
  CHECK(resumed.parameter_count() == whole.parameter_count());
  CHECK(same(resumed.snapshot(2), whole.snapshot(2)));
  const auto a = train_step(whole, 3), b = train_step(resumed, 3);
  CHECK(a.metrics.at("actor/pg_loss") == b.metrics.at("actor/pg_loss"));
  CHECK(same(resumed.snapshot(3), whole.snapshot(3)));
}

TEST_CASE("a checkpoint without its version, or without its optimizer, is refused in one line") {
  const tests::temporary_folder folder;
  const auto p = tests::tiny_pipeline();
  learning(p, "", 1).write_checkpoint(folder.path());
  std::filesystem::remove(folder / "version");
  CHECK_THROWS_AS(learning(p, folder.path(), 1), input_error);
  std::filesystem::remove_all(folder / "optimizer");
  CHECK_THROWS_AS(learning(p, folder.path(), 1), input_error);
}

TEST_CASE("a snapshot of weights does not change when its source goes on changing") {
  const at::Tensor source = at::arange(6, at::kFloat).reshape({2, 3});
  const auto snapshot = bundle_of({{"w", source}});
  source.fill_(-1);
  const auto values = snapshot.view<float>("w");
  CHECK(std::vector<float>(values.begin(), values.end()) == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(snapshot.at("w").spec.shape == std::vector<std::int64_t>{2, 3});
}

TEST_CASE("a snapshot of weights that are not contiguous or not fp32 holds their values as fp32") {
  const at::Tensor turned = at::arange(6, at::kFloat).reshape({2, 3}).t();
  const auto snapshot = bundle_of({{"half", turned.to(at::kBFloat16)}, {"turned", turned}});
  const auto values = snapshot.view<float>("turned");
  CHECK(std::vector<float>(values.begin(), values.end()) == std::vector<float>{0, 3, 1, 4, 2, 5});
  CHECK(snapshot.at("half").spec.type == transport::dtype::f32);
}

TEST_CASE("weights made of a bundle are its memory and keep it alive") {
  auto snapshot = bundle_of({{"w", at::full({4}, 2.5)}});
  const void* memory = snapshot.at("w").bytes.data();
  auto weights = weights_of(snapshot);
  CHECK(weights.at(0).tensor.data_ptr() == memory);
  const std::weak_ptr<const void> owner = snapshot.owner();
  snapshot = {};
  CHECK(!owner.expired());
  CHECK(at::equal(weights.at(0).tensor, at::full({4}, 2.5f)));
  weights.clear();
  CHECK(owner.expired());
  const std::vector<std::int32_t> whole{1, 2};
  CHECK_THROWS_AS(weights_of(transport::bundle_builder().add<std::int32_t>("w", whole).finish()), std::invalid_argument);
}

TEST_CASE("a greedy answer becomes the group's baseline and is no answer of it") {
  const auto with = [](std::vector<std::uint8_t> greedy) {
    return column_set({tests::rollout_columns(), tests::reward_columns({1, 0.25}),
                       transport::bundle_builder().add<std::uint8_t>("greedy", greedy).finish()});
  };
  const auto group = training_group_of(7, with({0, 1}));
  CHECK(group.answers == std::vector<std::vector<std::int32_t>>{{10, 11, 12}});
  CHECK(group.behaviour_logprob.size() == 1);
  CHECK(group.version.size() == 1);
  CHECK(group.reward == std::vector<float>{1});
  CHECK(group.baseline == std::vector<float>{0.25});
  CHECK_THROWS_AS(training_group_of(7, with({1, 0})), std::invalid_argument);
}

TEST_CASE("a group remembers which of the answers that were begun its own are") {
  const auto with = [](std::vector<std::int32_t> kept) {
    return column_set({tests::rollout_columns(), tests::reward_columns({1, 0.25}), transport::bundle_builder().add<std::int32_t>("kept", kept).finish()});
  };
  CHECK(training_group_of(7, with({1, 4})).kept == std::vector<std::uint32_t>{1, 4});
  CHECK(training_group_of(7, whole_group()).kept.empty());
  CHECK_THROWS_AS(training_group_of(7, with({1})), std::invalid_argument);
}

TEST_CASE("masked answers keep their reward and lose their tokens, which are counted") {
  const auto group = training_group_of(7, whole_group(), true); // the second answer was cut off
  CHECK(group.answers == std::vector<std::vector<std::int32_t>>{{10, 11, 12}, {}});
  CHECK(group.behaviour_logprob[1].empty());
  CHECK(group.reward == std::vector<float>{1, 0});
  CHECK(group.masked_tokens == 1);
  CHECK(training_group_of(7, whole_group()).masked_tokens == 0);
}

TEST_CASE("a group is flat where all its rewards are the same") {
  CHECK(is_flat(training_group_of(7, column_set({tests::rollout_columns(), tests::reward_columns({1, 1})}))));
  CHECK_FALSE(is_flat(training_group_of(7, whole_group())));
}

TEST_CASE("a step with masked answers trains the others and says how many tokens it left out") {
  learning learner(tests::tiny_pipeline(), "", 1);
  auto one = some_group(1), other = some_group(2);
  const auto tokens = [](const train::training_group& group) {
    std::int64_t count = 0;
    for (const auto& answer : group.answers)
      count += static_cast<std::int64_t>(answer.size());
    return count;
  };
  const auto all = tokens(one) + tokens(other);
  one.masked_tokens = static_cast<std::int64_t>(one.answers[0].size());
  one.answers[0].clear();
  one.behaviour_logprob[0].clear();
  one.version[0].clear();
  learner.keep(one);
  learner.keep(other);
  const auto report = learner.train({1, 0, {1, 2}}, {});
  CHECK_FALSE(report.skipped);
  CHECK(report.trained_tokens + report.masked_tokens == all);
  CHECK(report.masked_tokens == one.masked_tokens);
}
