#include "runtime/model/score_head.hpp"
#include "runtime/train/value_learner.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <stdexcept>

namespace value_learner_test {

using namespace millrace;

namespace {

model::checkpoint scorer(std::uint64_t seed = 1) {
  model::checkpoint out;
  out.config = tests::tiny_config("llama");
  out.parameters = tests::random_weights(out.config, seed, at::kFloat, false);
  return model::with_score_head(std::move(out));
}

train::value_learner_options options_of(double lr = 1e-2) {
  train::value_learner_options options;
  options.device = "cpu";
  options.threads = 1;
  options.optimizer.lr = lr;
  return options;
}

train::value_learner make(const train::value_learner_options& options = options_of()) {
  const auto model = scorer();
  return {model.config, model.parameters, options};
}

/// Two answers, of three tokens and one, with the values that the learner says of them.
train::training_group group_of(const train::value_learner& learner, std::vector<float> reward, std::uint64_t id = 1) {
  train::training_group group;
  group.id = id;
  group.prompt = {5, 6};
  group.answers = {{7, 8, 9}, {10}};
  group.behaviour_logprob = {{-1, -1, -1}, {-1}};
  group.version = {{0, 0, 0}, {0}};
  group.reward = std::move(reward);
  const auto values = learner.values(group.prompt, group.answers);
  group.value = {{values[0], values[1], values[2]}, {values[3]}};
  return group;
}

} // namespace

TEST_CASE("critic: with a head of zeros the first loss is that of the returns by hand") {
  auto options = options_of();
  options.algorithm_options = {{"lambda", 1}, {"gamma", 1}};
  auto learner = make(options);
  const std::vector groups{group_of(learner, {2, -1})};
  CHECK(groups[0].value == std::vector<std::vector<float>>{{0, 0, 0}, {0}});
  // gamma = lambda = 1: every token's return is its answer's reward, 2 2 2 -1; losses half the squares.
  const auto report = learner.gradient(groups, 0);
  CHECK(report.loss == doctest::Approx((4 + 4 + 4 + 1) / 2.0 / 4));
  CHECK(report.return_mean == doctest::Approx(1.25));
  CHECK(report.value_mean == 0);
  CHECK(report.learning_rate == doctest::Approx(1e-2));
}

TEST_CASE("critic: the KL that comes off the reward is bounded as the policy's is") {
  auto options = options_of();
  options.algorithm_options = {{"lambda", 1}, {"gamma", 1}, {"kl_in_reward", 1}};
  const auto mean_return = [&] {
    auto learner = make(options);
    std::vector groups{group_of(learner, {2, -1})};
    groups[0].ref_logprob = {{-1, -1, -8}, {-1}}; // k1 of 7 at one token
    return learner.gradient(groups, 0).return_mean;
  };
  CHECK(mean_return() == doctest::Approx((3 * (2 - 7) - 1) / 4.0));
  options.clamps.output = 2;
  CHECK(mean_return() == doctest::Approx((3 * (2 - 2) - 1) / 4.0));
}

TEST_CASE("critic: V-trace's targets are the policy's, token by token, and a count that disagrees is refused") {
  auto options = options_of();
  options.algorithm = "vtrace";
  auto learner = make(options);
  const std::vector groups{group_of(learner, {2, -1})};
  const std::vector<float> targets{1, 2, 3, 4};
  CHECK(learner.gradient(groups, 0, {}, targets).loss
        == doctest::Approx((1 + 4 + 9 + 16) / 2.0 / 4)); // all values are 0
  CHECK_THROWS_WITH_AS(learner.gradient(groups, 0, {}, std::span(targets).first(3)), "returns of 3 tokens, want 4",
                       std::invalid_argument);
  CHECK_THROWS(learner.gradient(groups, 0)); // it cannot make them
}

TEST_CASE("critic: tokens that are too old train nothing and stay in the denominator") {
  auto options = options_of();
  options.algorithm_options = {{"lambda", 1}, {"gamma", 1}};
  auto learner = make(options);
  std::vector groups{group_of(learner, {2, -1})};
  groups[0].trains = {{0, 1, 1}, {1}};
  CHECK(learner.gradient(groups, 0).loss == doctest::Approx((4 + 4 + 1) / 2.0 / 4));
}

TEST_CASE("critic: a gradient changes nothing until it is applied, once") {
  auto learner = make();
  const std::vector groups{group_of(learner, {2, -1})};
  const auto head = [&] { return learner.parameters().back().tensor.detach().clone(); };
  const at::Tensor before = head();
  CHECK(learner.parameters().back().name == "score.weight");
  CHECK(learner.gradient(groups, 0).result == train::step_report::outcome::applied);
  CHECK(at::equal(head(), before));
  CHECK(learner.steps() == 0);
  learner.apply();
  CHECK(!at::equal(head(), before));
  CHECK(learner.steps() == 1);
  const at::Tensor after = head();
  learner.apply();
  CHECK(at::equal(head(), after));
  std::stop_source stop;
  stop.request_stop();
  CHECK(learner.gradient(groups, 0, stop.get_token()).result == train::step_report::outcome::stopped);
  learner.apply();
  CHECK(at::equal(head(), after));
}

TEST_CASE("critic: how a step is cut into micro-batches changes nothing") {
  auto whole = make(), cut = make([] {
                         auto options = options_of();
                         options.micro_batch_tokens = 1;
                         return options;
                       }());
  const std::vector groups{group_of(whole, {2, -1}), group_of(whole, {1, 0}, 2)};
  const auto a = whole.gradient(groups, 0), b = cut.gradient(groups, 0);
  CHECK(b.micro_batches == 4);
  CHECK(a.loss == doctest::Approx(b.loss));
  CHECK(a.gradient_norm == doctest::Approx(b.gradient_norm).epsilon(1e-5));
}

TEST_CASE("critic: learns what its answers are worth, and with a clip no faster than the clip lets it") {
  auto learner = make();
  double loss = 0;
  for (int step = 0; step < 60; ++step) {
    loss = learner.gradient(std::vector{group_of(learner, {2, -1})}, 0).loss;
    learner.apply();
  }
  const auto values =
      learner.values(std::vector<std::int32_t>{5, 6}, std::vector<std::vector<std::int32_t>>{{7, 8, 9}, {10}});
  MESSAGE("values after 60 steps: " << values[0] << " " << values[1] << " " << values[2] << ", loss " << loss);
  CHECK(values[0] == doctest::Approx(1.25).epsilon(0.4)); // before anything is known: between 2 (three times) and -1
  CHECK(values[1] == doctest::Approx(2).epsilon(0.1));
  CHECK(values[2] == doctest::Approx(2).epsilon(0.1));
  CHECK(values[3] == values[0]);
}

TEST_CASE("critic: state saved and loaded goes on bit for bit") {
  const tests::temporary_folder folder;
  auto learner = make();
  const std::vector groups{group_of(learner, {2, -1})};
  learner.gradient(groups, 0);
  learner.apply();
  learner.save_state(folder.path());
  train::value_learner resumed(scorer().config, learner.parameters(), options_of());
  resumed.load_state(folder.path());
  for (auto* one : {&learner, &resumed}) {
    one->gradient(groups, 0);
    one->apply();
  }
  CHECK(resumed.steps() == 2);
  for (std::size_t i = 0; i < learner.parameters().size(); ++i)
    CHECK(at::equal(learner.parameters()[i].tensor, resumed.parameters()[i].tensor));
}

TEST_CASE("critic: in bfloat16 its values are those that it trains, and a snapshot says them bit for bit") {
  auto options = options_of();
  options.computes = precision::bfloat16;
  auto learner = make(options), wide = make();
  for (int step = 0; step < 3; ++step) {
    const std::vector groups{group_of(learner, {2, -1})};
    for (auto* one : {&learner, &wide}) {
      one->gradient(groups, 0);
      one->apply();
    }
  }
  const auto then = learner.snapshot();
  const std::vector groups{group_of(learner, {2, -1})};
  const auto said = learner.values(groups[0].prompt, groups[0].answers);
  CHECK(learner.values(*then, groups[0].prompt, groups[0].answers) == said);
  // Where the values are those of the pass that trains, nothing is clipped, however small the clip is.
  auto strict = options;
  strict.value_clip = 1e-12;
  train::value_learner again(scorer().config, learner.parameters(), strict);
  CHECK(again.gradient(groups, 0).seen.clipped == 0);
  const auto in_fp32 = wide.values(groups[0].prompt, groups[0].answers);
  CHECK(said != in_fp32);
  for (std::size_t i = 0; i < said.size(); ++i)
    CHECK(said[i] == doctest::Approx(in_fp32[i]).epsilon(0.1));
  learner.gradient(groups, 0);
  learner.apply();
  CHECK(learner.values(groups[0].prompt, groups[0].answers) != said);
  CHECK(learner.values(*then, groups[0].prompt, groups[0].answers) == said);
}

TEST_CASE("critic: groups that are not finite are left out, and a step of nothing else is skipped") {
  auto learner = make();
  const auto good = group_of(learner, {2, -1});
  auto bad = group_of(learner, {2, std::numeric_limits<float>::quiet_NaN()}, 2);
  const auto alone = learner.gradient(std::vector{good}, 0), both = learner.gradient(std::vector{good, bad}, 0);
  CHECK(alone.loss == both.loss);
  CHECK(alone.unusable.empty());
  CHECK(both.unusable == std::vector<std::uint64_t>{2});
  CHECK(learner.gradient(std::vector{bad}, 0).result == train::step_report::outcome::not_finite);
  learner.apply();
  CHECK(learner.steps() == 0);
}

TEST_CASE("critic: what it cannot learn from is refused by name") {
  const auto model = scorer();
  auto options = options_of();
  options.algorithm = "grpo";
  CHECK_THROWS_WITH_AS(train::value_learner(model.config, model.parameters, options),
                       "algorithm 'grpo': has no returns that a critic could learn", std::invalid_argument);
  auto learner = make();
  auto group = group_of(learner, {2, -1});
  group.value.clear();
  CHECK_THROWS_WITH_AS(learner.gradient(std::vector{group}, 0),
                       "column 'value': missing, and a critic cannot learn without what it said",
                       std::invalid_argument);
}

} // namespace value_learner_test
