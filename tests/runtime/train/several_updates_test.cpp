#include "runtime/model/decoder.hpp"
#include "runtime/model/token_logprob.hpp"
#include "runtime/train/learner.hpp"
#include "runtime/train/mask_old.hpp"
#include "runtime/train/step_columns.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

namespace several_updates_test {

namespace {

using namespace millrace;
using train::learner;
using train::learner_options;
using train::step_report;
using train::training_group;

const model::model_config config = tests::tiny_config("qwen2");

model::weights start() {
  return tests::random_weights(config, 3, at::kFloat, false);
}

/// Four groups of four answers of 2 to 6 tokens, sampled by version 4, whose log-probabilities are the model's less
/// `gap`.
std::vector<training_group> some_groups(std::uint64_t seed, float gap = 0) {
  std::mt19937_64 random(seed);
  const model::decoder decoder(config, start());
  std::vector<training_group> groups(4);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    auto& group = groups[g];
    group.id = 100 + g;
    group.prompt = {1, static_cast<std::int32_t>(2 + g)};
    for (int a = 0; a < 4; ++a) {
      auto& answer = group.answers.emplace_back();
      for (std::uint64_t i = 0, n = 2 + random() % 5; i < n; ++i)
        answer.push_back(static_cast<std::int32_t>(random() % 40));
      group.reward.push_back(static_cast<float>(a % 2));
      group.version.emplace_back(answer.size(), 4u);
    }
    group.behaviour_logprob = model::score_answers(decoder, group.prompt, group.answers);
    group.ref_logprob = group.behaviour_logprob;
    for (auto& answer : group.behaviour_logprob)
      for (auto& logprob : answer)
        logprob -= gap;
  }
  return groups;
}

learner_options some_options() {
  learner_options o;
  o.device = "cpu";
  o.threads = 1;
  o.optimizer.lr = 1e-3;
  return o;
}

double largest_difference(const model::weights& a, const model::weights& b) {
  double out = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    out = std::max(out, (a[i].tensor - b[i].tensor).abs().max().item<double>());
  return out;
}

algorithms::chosen_correction chosen(const char* name, const std::map<std::string, double>& set = {}) {
  const auto* row = algorithms::find_correction(name);
  return {row, algorithms::hyperparameter_values(row->options, set)};
}

} // namespace

TEST_CASE("a step of several updates is its parts trained one after another") {
  // With the surrogate's clip wide open and no second epoch, the ratio is against the start of the whole step; against
  // the start of each part only the weight of the later parts differs, so one answer a group and plain advantages show
  // it.
  const auto groups = some_groups(1);
  learner_options o = some_options();
  o.updates_per_batch = 4;
  o.optimizer.lr = 1e-5; // ratios of later parts stay near one
  learner several(config, start(), o);
  o.updates_per_batch = 1;
  learner single(config, start(), o);
  const auto report = several.step(groups, 4);
  for (const auto& group : groups)
    single.step({&group, 1}, 4);
  CHECK(report.updates == 4);
  CHECK(several.steps() == 4);
  CHECK(report.answer_tokens == report.seen.tokens);
  CHECK(largest_difference(several.parameters(), start()) > 1e-6);
  CHECK(largest_difference(several.parameters(), single.parameters()) < 2e-6);
}

TEST_CASE("epochs go over the step again, against the policy at its start") {
  const auto groups = some_groups(2);
  learner_options o = some_options();
  o.epochs = 3;
  learner l(config, start(), o);
  const auto report = l.step(groups, 4);
  CHECK(report.updates == 3);
  CHECK(report.seen.tokens == 3 * report.answer_tokens);
  CHECK(report.seen.proximal_kl() > 0); // the later passes saw a policy that had moved
  CHECK(report.logprob_mismatch < 1e-5);
  CHECK(report.seen.mean_weight() == doctest::Approx(1).epsilon(1e-4)); // and no correction was needed
}

TEST_CASE("decoupled: weights are against the start of the step, not the current policy") {
  learner_options o = some_options();
  o.epochs = 2;
  o.loss.corrections = {chosen("truncated", {{"cap", 10}})};
  learner l(config, start(), o);
  const auto report = l.step(some_groups(3, 0.5f), 4);
  CHECK(report.seen.mean_weight() == doctest::Approx(std::exp(0.5)).epsilon(1e-4));
  CHECK(report.seen.effective_sample_fraction() == doctest::Approx(1).epsilon(1e-6));

  o.loss.against = algorithms::proximal::behaviour;
  learner bypass(config, start(), o);
  CHECK(bypass.step(some_groups(3, 0.5f), 4).seen.mean_weight() == 1);
}

TEST_CASE("further updates stop once the policy has moved far enough") {
  learner_options o = some_options();
  o.epochs = 50;
  o.target_kl = 1e-3;
  learner l(config, start(), o);
  const auto report = l.step(some_groups(4), 4);
  CHECK(report.stopped_on_kl);
  CHECK(report.updates >= 1);
  CHECK(report.updates < 50);
  CHECK(l.steps() == report.updates);
  o.target_kl = 1e9;
  o.epochs = 3;
  learner free(config, start(), o);
  CHECK(!free.step(some_groups(4), 4).stopped_on_kl);
}

TEST_CASE("a correction that sees the whole step masks the same tokens however the step is cut") {
  auto groups = some_groups(5);
  for (std::size_t g = 0; g < groups.size(); ++g)
    for (auto& answer : groups[g].behaviour_logprob)
      answer[0] -= 0.1f * static_cast<float>(g + 1);
  learner_options o = some_options();
  o.loss.corrections = {chosen("m2po", {{"threshold", 0.01}})};
  o.optimizer.eps = 1; // the update is proportional to the gradient
  o.optimizer.lr = 1;
  learner whole(config, start(), o);
  o.micro_batch_tokens = 16;
  learner parts(config, start(), o);
  const auto a = whole.step(groups, 4), b = parts.step(groups, 4);
  CHECK(a.micro_batches == 1);
  CHECK(b.micro_batches >= 4);
  CHECK(a.seen.masked > 0);
  CHECK(a.seen.masked < a.answer_tokens);
  CHECK(b.seen.masked == a.seen.masked);
  CHECK(largest_difference(whole.parameters(), parts.parameters()) < 1e-5);
}

TEST_CASE("the KL coefficient follows its target and is saved") {
  const tests::temporary_folder folder;
  learner_options o = some_options();
  o.loss.kl_coefficient = 0.1;
  o.kl_control = {1, 100}; // the policy is the reference: KL 0, so 16 answers lower it by 0.2 * 16 / 100
  learner l(config, start(), o);
  CHECK(l.step(some_groups(6), 4).kl_coefficient == 0.1);
  CHECK(l.kl_coefficient() == doctest::Approx(0.1 * (1 - 0.2 * 16 / 100)).epsilon(1e-12));
  l.save_state(folder.path());
  learner again(config, start(), o);
  again.load_state(folder.path());
  CHECK(again.kl_coefficient() == l.kl_coefficient());
  std::filesystem::remove(folder / "kl_coefficient");
  CHECK_THROWS_WITH_AS(again.load_state(folder.path()), doctest::Contains("kl_coefficient: missing or damaged"),
                       input_error);
}

TEST_CASE("a group with a reward or log-probability that is not finite is left out and named") {
  for (const bool reward : {true, false}) {
    auto groups = some_groups(7);
    (reward ? groups[1].reward[2] : groups[1].behaviour_logprob[2][0]) = std::numeric_limits<float>::quiet_NaN();
    learner l(config, start(), some_options()), without(config, start(), some_options());
    const auto report = l.step(groups, 4);
    CHECK(report.result == step_report::outcome::applied);
    CHECK(report.unusable == std::vector<std::uint64_t>{101});
    CHECK(report.groups == 3);
    groups.erase(groups.begin() + 1);
    without.step(groups, 4);
    CHECK(largest_difference(l.parameters(), without.parameters()) == 0);
  }
}

TEST_CASE("a step without any usable group is skipped") {
  auto groups = some_groups(8);
  for (auto& group : groups)
    group.reward[0] = std::numeric_limits<float>::infinity();
  learner l(config, start(), some_options());
  const auto report = l.step(groups, 4);
  CHECK(report.result == step_report::outcome::not_finite);
  CHECK(report.culprits == std::vector<std::uint64_t>{100, 101, 102, 103});
  CHECK(largest_difference(l.parameters(), start()) == 0);
}

TEST_CASE("an entropy bonus alone raises the entropy") {
  auto groups = some_groups(9);
  for (auto& group : groups)
    group.reward.assign(group.reward.size(), 1); // advantages 0
  learner_options o = some_options();
  o.loss.entropy_coefficient = 1;
  learner l(config, start(), o);
  const double before = l.step(groups, 4).seen.mean_entropy();
  double after = 0;
  for (int i = 0; i < 5; ++i)
    after = l.step(groups, 4).seen.mean_entropy();
  CHECK(after > before + 1e-4);
}

// -- a step in parts
// -----------------------------------------------------------------------------------------------------

TEST_CASE("a step whose groups come in parts makes the updates of one whose groups come together") {
  auto o = some_options();
  o.loss.corrections = {chosen("truncated", {{"cap", 2}})};
  learner parts(config, start(), o);
  o.updates_per_batch = 2;
  learner together(config, start(), o);
  const auto groups = some_groups(1, 0.3f);
  const auto whole = together.step(groups, 5);
  auto report = parts.step(std::span(groups).first(2), 5, {}, {.begins = true, .ends = false});
  report += parts.step(std::span(groups).last(2), 5, {}, {.begins = false, .ends = true});
  CHECK(largest_difference(parts.parameters(), together.parameters()) < 1e-6);
  CHECK(report.updates == 2);
  CHECK(report.loss == doctest::Approx(whole.loss));
  CHECK(report.reward_mean == doctest::Approx(whole.reward_mean));
  CHECK(report.reward_deviation == doctest::Approx(whole.reward_deviation));
  CHECK(report.gradient_norm == doctest::Approx(whole.gradient_norm));
  CHECK(report.seen.proximal_kl()
        == doctest::Approx(whole.seen.proximal_kl())); // against the step's start, in both parts
  CHECK(report.seen.proximal_kl() > 0);
  CHECK(report.staleness_mean == 1);
  CHECK(report.by_age[1].tokens == report.answer_tokens);
}

TEST_CASE("within a step the version is the step's start, and a checkpoint goes on bit for bit") {
  const auto groups = some_groups(2, 0.3f);
  const auto part = [&](learner& l, std::size_t first, bool begins, bool ends) {
    return l.step(std::span(groups).subspan(first, 1), 4, {}, {.begins = begins, .ends = ends});
  };
  learner a(config, start(), some_options());
  const auto before = start();
  part(a, 0, true, false);
  CHECK(largest_difference(a.version_parameters(), before) == 0);
  CHECK(largest_difference(a.parameters(), before) > 0);
  const tests::temporary_folder folder;
  a.save_state(folder.path());
  learner b(config, a.parameters(), some_options());
  b.load_state(folder.path());
  CHECK(largest_difference(b.version_parameters(), before) == 0);
  part(a, 1, false, true);
  part(b, 1, false, true);
  CHECK(largest_difference(a.parameters(), b.parameters()) == 0);
  CHECK(largest_difference(a.version_parameters(), a.parameters()) == 0);
  CHECK_THROWS_AS(part(a, 2, false, true), std::logic_error);
}

TEST_CASE("the updates of one step share its learning rate") {
  auto o = some_options();
  o.optimizer.warmup_steps = 3;
  o.updates_per_batch = 4;
  learner l(config, start(), o);
  CHECK(l.step(some_groups(1), 0).learning_rate == doctest::Approx(0.25e-3));
  CHECK(l.step(some_groups(1), 1).learning_rate == doctest::Approx(0.5e-3));
  CHECK(l.step(some_groups(1), 7).learning_rate == doctest::Approx(1e-3));
}

TEST_CASE("a part that only looks trains nothing and reports its rewards") {
  learner l(config, start(), some_options());
  const auto report = l.step(some_groups(1), 0, {}, {.moves = false});
  CHECK(report.updates == 0);
  CHECK(report.reward_mean == 0.5);
  CHECK(largest_difference(l.parameters(), start()) == 0);
}

TEST_CASE("the report of a step goes through JSON bit for bit") {
  learner l(config, start(), some_options());
  const auto report = l.step(some_groups(3, 0.1f), 6);
  const auto again = train::step_report_from(train::to_json(report));
  CHECK(train::to_json(again) == train::to_json(report));
  CHECK(again.loss == report.loss);
  CHECK(again.seen.by_age[2].k3 == report.seen.by_age[2].k3);
  CHECK_THROWS_AS(train::step_report_from("{}"), input_error);
}

TEST_CASE("the KL that comes off the reward is bounded by the clamps of the loss") {
  learner_options o = some_options();
  o.algorithm = "reinforce_pp";
  o.algorithm_options = {{"kl_in_reward", 1}, {"whitening", 0}};
  const auto loss = [&](float distance) {
    auto groups = some_groups(1);
    groups[0].ref_logprob[0][0] -= distance;
    learner l(config, start(), o);
    return l.step(groups, 4).loss;
  };
  const double free = loss(7), within = loss(2);
  CHECK(std::abs(free - within) > 0.01);
  o.loss.clamps.output = 2;
  CHECK(loss(7) == doctest::Approx(within).epsilon(1e-6));
}

TEST_CASE("domains become numbers in the order of their appearance") {
  auto groups = some_groups(1);
  groups[0].domain = groups[3].domain = "maths";
  groups[1].domain = "law";
  const auto columns = train::gather_columns(groups, 100).columns;
  CHECK(columns.domain.equal(at::tensor({0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0}, at::kLong)));
  CHECK(!train::gather_columns(some_groups(1), 100).columns.domain.defined());
}

TEST_CASE("V-trace's targets for the critic are those that the advantages are made of") {
  auto o = some_options();
  o.algorithm = "vtrace";
  CHECK(train::makes_returns("vtrace"));
  CHECK(!train::makes_returns("ppo"));
  auto groups = some_groups(1, std::log(2.0f)); // every ratio of the step's start is 2, cut to 1
  for (auto& group : groups)
    for (const auto& answer : group.answers)
      group.value.emplace_back(answer.size(), 0.0f);
  learner l(config, start(), o);
  const auto report = l.step(groups, 5);
  // Values 0, weights 1, no discount: the target of each token is its answer's reward.
  std::vector<float> want;
  for (const auto& group : groups)
    for (std::size_t i = 0; i < group.answers.size(); ++i)
      want.insert(want.end(), group.answers[i].size(), group.reward[i]);
  REQUIRE(report.returns.size() == want.size());
  for (std::size_t t = 0; t < want.size(); ++t)
    CHECK(report.returns[t] == doctest::Approx(want[t]).epsilon(1e-4));
  // Sampled by a policy that liked the words twice as much: half of every temporal difference.
  groups = some_groups(1, -std::log(2.0f));
  for (auto& group : groups)
    for (const auto& answer : group.answers)
      group.value.emplace_back(answer.size(), 0.0f);
  learner again(config, start(), o);
  const auto halved = again.step(groups, 5, {}, {.moves = false});
  for (std::size_t g = 0, t = 0; g < groups.size(); ++g)
    for (std::size_t i = 0; i < groups[g].answers.size(); ++i)
      for (std::size_t left = groups[g].answers[i].size(); left > 0; --left, ++t)
        CHECK(halved.returns[t]
              == doctest::Approx(groups[g].reward[i] * std::pow(0.5, static_cast<double>(left))).epsilon(1e-4));
}

// -- what is too old
// -----------------------------------------------------------------------------------------------------

TEST_CASE("tokens and answers that are too old are counted as they are masked") {
  std::vector<training_group> groups(1);
  groups[0].answers = {{1, 2, 3}, {4, 5}, {6}};
  groups[0].version = {{2, 3, 3}, {3, 3}, {2}};
  auto tokens = groups, answers = groups, none = groups;
  CHECK(train::mask_old(tokens, age_mask::tokens, 3) == 2);
  CHECK(tokens[0].trains == std::vector<std::vector<std::uint8_t>>{{0, 1, 1}, {1, 1}, {0}});
  CHECK(train::mask_old(answers, age_mask::answers, 3) == 4);
  CHECK(answers[0].trains == std::vector<std::vector<std::uint8_t>>{{0, 0, 0}, {1, 1}, {0}});
  CHECK(train::mask_old(none, age_mask::tokens, 2) == 0);
  CHECK(none[0].trains.empty());
  auto half = groups; // a token that was never to be trained is not taken out a second time
  half[0].mask = {{0, 1, 1}, {1, 1}, {1}};
  CHECK(train::mask_old(half, age_mask::answers, 3) == 3);
}

TEST_CASE("a masked answer keeps its reward in the baseline, and the denominators") {
  training_group group;
  group.id = 1;
  group.prompt = {1, 2};
  group.answers = {{3, 4}, {3, 4}};
  group.reward = {1, 0};
  group.version = {{4, 4}, {3, 3}};
  group.behaviour_logprob = model::score_answers(model::decoder(config, start()), group.prompt, group.answers);
  auto o = some_options();
  o.optimizer.clip_norm = 0;
  learner both(config, start(), o), masked(config, start(), o);
  std::vector<training_group> groups{group};
  // The same words push with A and -A: nothing is left.
  CHECK(both.step(groups, 4).gradient_norm < 1e-6);
  CHECK(train::mask_old(groups, age_mask::answers, 4) == 2);
  const auto report = masked.step(groups, 4);
  CHECK(report.gradient_norm > 1e-3);
  CHECK(report.by_age[0].tokens == 2);
  CHECK(report.by_age[1].tokens == 0);
  CHECK(report.staleness_max == 0);
  CHECK(report.reward_mean == 0.5);
  // A = (1 - 1/2) / sqrt(1/2); two of the step's four tokens have it.
  CHECK(report.loss == doctest::Approx(-0.5 / std::sqrt(2.0)).epsilon(1e-3));
}

} // namespace several_updates_test
