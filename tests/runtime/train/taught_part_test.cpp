#include "runtime/train/learner.hpp"
#include "runtime/train/step_columns.hpp"
#include "runtime/train/taught_part.hpp"
#include "tests/runtime/model/random_decoder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

namespace taught_part_test {

using namespace millrace;
using train::learner;
using train::training_group;

namespace {

const model::model_config config = tests::tiny_config("llama"); // its embedding is its head, too

/// Groups of two answers of `tokens` tokens; the rewards are equal where `flat` says so.
std::vector<training_group> groups_of(const std::vector<bool>& flat, std::size_t tokens = 3) {
  std::vector<training_group> groups;
  for (std::size_t g = 0; g < flat.size(); ++g) {
    auto& group = groups.emplace_back();
    group.id = g;
    group.prompt = {1, static_cast<std::int32_t>(g + 2)};
    for (std::int32_t a = 0; a < 2; ++a) {
      auto& answer = group.answers.emplace_back();
      for (std::size_t t = 0; t < tokens; ++t)
        answer.push_back(static_cast<std::int32_t>((7 * g + 3 * t) % 30) + a);
      group.behaviour_logprob.emplace_back(tokens, -1.0f);
      group.version.emplace_back(tokens, 0u);
      group.reward.push_back(flat[g] ? 0.3f : static_cast<float>(a));
    }
  }
  return groups;
}

train::learner_options options() {
  train::learner_options o;
  o.device = "cpu";
  o.threads = 1;
  o.optimizer.lr = 1e-2;
  o.micro_batch_tokens = 8; // one group
  return o;
}

bool same(const model::weights& a, const model::weights& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) { return at::equal(x.tensor, y.tensor); });
}

/// Two steps with and without the groups that teach nothing. @returns the report of the last
train::step_report left_out_and_not(const train::learner_options& o, const std::vector<training_group>& groups,
                                    bool by_the_bit) {
  const auto start = tests::random_weights(config, 3, at::kFloat, false);
  auto all = o;
  all.skip_flat_groups = false;
  learner with(config, start, all), without(config, start, o);
  train::step_report report;
  for (std::uint32_t step = 0; step < 2; ++step) {
    const auto whole = with.step(groups, step);
    report = without.step(groups, step);
    CHECK(whole.flat_tokens_left_out == 0);
    CHECK(report.loss == doctest::Approx(whole.loss).epsilon(1e-6));
    CHECK(report.updates == whole.updates);
    CHECK(report.answer_tokens == whole.answer_tokens);
    CHECK(report.fed_tokens <= whole.fed_tokens);
    CHECK((report.fed_tokens < whole.fed_tokens) == (report.flat_tokens_left_out > 0));
  }
  if (by_the_bit)
    CHECK(same(with.parameters(), without.parameters()));
  for (std::size_t i = 0; i < start.size(); ++i)
    CHECK((with.parameters()[i].tensor - without.parameters()[i].tensor).abs().max().item<float>()
          < 2e-4); // of steps of 1e-2
  return report;
}

} // namespace

TEST_CASE("groups whose every advantage is 0 leave a step; its columns, cuts and totals are those of the others") {
  const auto groups = groups_of({true, false, true, true, false, true});
  auto batch = train::gather_columns(groups, config.vocab_size);
  batch.answers.advantage = at::zeros({36});
  batch.answers.advantage[8] = 1;                                                  // a token of group 1
  batch.answers.advantage[24] = 1;                                                 // and of group 4
  const auto parts = train::cut_updates(groups, 2, {8, algorithms::unit::answer}); // groups 0 to 2, 3 to 5
  const auto left = train::taught_part_of(groups, batch.answers, parts, {8, algorithms::unit::answer});
  REQUIRE(left.has_value());
  REQUIRE(left->groups.size() == 2);
  CHECK(left->groups[0].id == 1);
  CHECK(left->groups[1].id == 4);
  CHECK(at::equal(left->tokens, at::cat({at::arange(6, 12, at::kLong), at::arange(24, 30, at::kLong)})));
  CHECK(left->answers.length.numel() == 4);
  CHECK(left->answers.advantage[2].item<float>() == 1);
  CHECK(left->answers.advantage[6].item<float>() == 1);
  CHECK(left->answers.advantage.sum().item<float>() == 2);
  REQUIRE(left->parts.size() == 2);
  CHECK(left->parts[0].totals.tokens == 18);
  CHECK(left->parts[0].micro_batches.size() == 1);
  CHECK(left->parts[1].micro_batches.at(0).first_token == 6);
  CHECK(left->parts[1].micro_batches.at(0).first_answer == 2);

  batch.answers.trains = at::ones({36}, at::kBool);
  batch.answers.trains[24] = false; // too old to be trained: nothing is left of group 4, and the update keeps its first
  const auto older = train::taught_part_of(groups, batch.answers, parts, {8, algorithms::unit::answer});
  REQUIRE(older.has_value());
  CHECK(older->groups[1].id == 3);

  batch.answers.advantage.fill_(1);
  batch.answers.trains = at::Tensor();
  CHECK_FALSE(train::taught_part_of(groups, batch.answers, parts, {8, algorithms::unit::answer}).has_value());
}

TEST_CASE("learner: without flat groups the parameters are the same, bit for bit where each micro-batch is a group") {
  const std::vector<bool> most{true, false, true, true, false, true}, all(4, true), none(3, false);
  for (const char* name : {"grpo", "dr_grpo", "rloo", "gspo", "cispo", "dapo"}) {
    CAPTURE(name);
    auto o = options();
    o.algorithm = name;
    const auto report = left_out_and_not(o, groups_of(most), true);
    CHECK(report.flat_tokens_left_out == 24);
    CHECK(report.fed_tokens == 12);
    REQUIRE(report.policy_logprob.size() == 30); // of the groups up to the last that was computed
    CHECK(std::isnan(report.policy_logprob[0]));
    CHECK(report.policy_logprob[6] < 0);
    CHECK(std::isnan(report.policy_logprob[12]));
    o.updates_per_batch = 2;
    o.epochs = 2;
    left_out_and_not(o, groups_of(most), true);
    left_out_and_not(o, groups_of(all), true);
    CHECK(left_out_and_not(o, groups_of(none), true).flat_tokens_left_out == 0);
    o.micro_batch_tokens = 2048; // other groups in a micro-batch: other sums
    left_out_and_not(o, groups_of(most), false);
  }
}

TEST_CASE("learner: flat groups stay where something else than the advantage trains them") {
  const auto groups = groups_of({true, false, true});
  const auto left_out = [&](auto change) {
    auto o = options();
    change(o);
    auto given = groups;
    for (auto& group : given)
      group.ref_logprob = group.behaviour_logprob;
    return left_out_and_not(o, given, true).flat_tokens_left_out;
  };
  CHECK(left_out([](auto&) {}) == 12);
  CHECK(left_out([](auto& o) { o.loss.kl_coefficient = 0.1; }) == 0);
  CHECK(left_out([](auto& o) { o.loss.entropy_coefficient = 0.1; }) == 0);
  CHECK(left_out([](auto& o) { o.target_kl = 1; }) == 0);
  CHECK(left_out([](auto& o) { o.algorithm = "sft"; }) == 0);
}

} // namespace taught_part_test
