#include "runtime/model/float_tensor.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/model/token_logprob.hpp"
#include "runtime/train/answer_scores.hpp"
#include "runtime/train/learner.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace learner_heads_test {

// What sits on the decoder's output beside sampled answers: masked turns, scores, plain text; and adapters in its
// layers.

namespace {

using namespace millrace;
using train::learner;
using train::learner_options;
using train::training_group;

/// The same sums in another order, in float.
constexpr double float_tolerance = 1e-5;

const model::model_config config = tests::tiny_config("llama");

model::weights start() {
  return tests::random_weights(config, 3, at::kFloat, false);
}

learner_options options_of(const std::string& algorithm) {
  learner_options o;
  o.algorithm = algorithm;
  o.loss.how = algorithms::find(algorithm)->how;
  o.device = "cpu";
  o.sampled = false;
  o.optimizer.lr = 1e-2;
  return o;
}

training_group group_of(std::vector<std::int32_t> prompt, std::vector<std::vector<std::int32_t>> answers,
                        std::vector<float> reward = {1}) {
  training_group g;
  g.prompt = std::move(prompt);
  g.answers = std::move(answers);
  g.reward = std::move(reward);
  for (const auto& answer : g.answers) {
    g.behaviour_logprob.emplace_back(answer.size(), 0.0f);
    g.version.emplace_back(answer.size(), 0u);
  }
  return g;
}

/// A model with a score head of random numbers.
model::checkpoint scoring() {
  model::checkpoint c;
  c.config = config;
  c.parameters = start();
  c = model::with_score_head(std::move(c));
  at::manual_seed(5);
  for (auto& parameter : c.parameters)
    if (parameter.name == "score.weight")
      parameter.tensor = at::randn_like(parameter.tensor);
  return c;
}

} // namespace

TEST_CASE("a conversation with the user's turns masked trains as its turns on their own") {
  auto chat = group_of({1, 2, 3}, {{4, 5, 6, 7, 8, 9, 10}});
  chat.mask = {{1, 1, 0, 0, 1, 1, 1}};
  const std::vector<training_group> turns{group_of({1, 2, 3}, {{4, 5}}), group_of({1, 2, 3, 4, 5, 6, 7}, {{8, 9, 10}})};
  learner whole(config, start(), options_of("sft")), apart(config, start(), options_of("sft"));
  const auto a = whole.step(std::vector{chat}, 0), b = apart.step(turns, 0);
  CHECK(a.answer_tokens == 5);
  CHECK(a.loss == doctest::Approx(b.loss).epsilon(float_tolerance));
  CHECK(a.gradient_norm == doctest::Approx(b.gradient_norm).epsilon(float_tolerance));
  // A masked token matters as context, and only so.
  chat.answers[0][2] = 30;
  learner other(config, start(), options_of("sft"));
  CHECK(std::abs(other.step(std::vector{chat}, 0).loss - a.loss) > 1e-4);
  chat.mask = {{1, 1}};
  CHECK_THROWS_WITH_AS(other.step(std::vector{chat}, 0), doctest::Contains("mask of answer 0 has 2 tokens, want 7"),
                       std::invalid_argument);
}

TEST_CASE("micro-batches of masked answers give the same loss and gradient") {
  std::vector<training_group> groups;
  for (std::int32_t g = 0; g < 4; ++g) {
    groups.push_back(group_of({1, 2 + g}, {{4, 5 + g, 6, 7, 8}}));
    if (g % 2)
      groups.back().mask = {{1, 0, 0, 1, static_cast<std::uint8_t>(g > 1)}};
  }
  auto small = options_of("sft");
  small.micro_batch_tokens = 8;
  learner one(config, start(), options_of("sft")), several(config, start(), small);
  const auto a = one.step(groups, 0), b = several.step(groups, 0);
  CHECK(a.micro_batches == 1);
  CHECK(b.micro_batches == 4);
  CHECK(a.loss == doctest::Approx(b.loss).epsilon(float_tolerance));
  CHECK(a.gradient_norm == doctest::Approx(b.gradient_norm).epsilon(float_tolerance));
}

TEST_CASE("the score that is trained is the one a reward model gives") {
  auto model = scoring();
  const std::vector<training_group> groups{group_of({1, 2, 3}, {{4, 5}, {6}}, {1, 0}),
                                           group_of({7}, {{}, {8, 9, 10}}, {0, 1}),
                                           group_of({7, 6, 5, 5}, {{8}, {5}, {9, 5, 5}, {5, 9}}, {0, 1, 0, 1})};
  SUBCASE("without a padding token") {
    model.config.pad_id = std::nullopt;
  }
  SUBCASE("where the padding is a token of answers and prompts") {
    model.config.pad_id = 5;
  }
  const model::decoder decoder(model.config, model.parameters);
  const auto batches = train::cut_micro_batches(groups, {100, algorithms::unit::group});
  REQUIRE(batches.size() == 1);
  const at::Tensor scores = train::answer_scores(decoder, groups, batches[0]).score;
  std::vector<float> want;
  for (const auto& group : groups)
    for (const float score : model::answer_scores(decoder, group.prompt, group.answers))
      want.push_back(score);
  const at::Tensor given = at::tensor(want); // sums of another order
  CHECK(((scores - given).abs() / given.abs().clamp_min(1)).max().item<double>() < 2 * float_tolerance);
  const auto ranked = train::rank_pairs(at::tensor({2.0, 1.0, 3.0, 0.0}), at::tensor({1.0, 0.0, 0.0, 1.0}),
                                        at::tensor({0, 0, 1, 1}, at::kLong));
  CHECK(ranked.pairs == 2);
  CHECK(ranked.right == 1);
}

TEST_CASE("a reward model learns to rank pairs, from three seeds") {
  for (const int seed : {1, 2, 3}) {
    CAPTURE(seed);
    model::checkpoint c;
    c.config = config;
    c.parameters = tests::random_weights(config, static_cast<std::uint64_t>(seed), at::kFloat, false);
    c = model::with_score_head(std::move(c));
    learner l(c.config, c.parameters, options_of("bradley_terry"));
    // The better answer holds token 7.
    std::vector<training_group> groups;
    for (std::int32_t g = 0; g < 8; ++g)
      groups.push_back(group_of({g, g + 1}, {{10 + g, 7, 3}, {10 + g, 20 + g % 4, 3}}, {1, 0}));
    const auto first = l.step(groups, 0);
    CHECK(first.loss == doctest::Approx(std::log(2)).epsilon(1e-6)); // a head of zeros
    train::step_report last;
    for (int i = 0; i < 20; ++i)
      last = l.step(groups, 0);
    CHECK(last.pairs == 8);
    CHECK(last.pairs_right == 8);
    CHECK(last.loss < 0.1);
  }
}

TEST_CASE("DPO raises the better answer over the reference's, from three seeds") {
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    CAPTURE(seed);
    const auto parameters = tests::random_weights(config, seed, at::kFloat, false);
    const model::decoder reference(config, parameters);
    std::vector<training_group> groups;
    for (std::int32_t g = 0; g < 8; ++g) {
      groups.push_back(group_of({g, g + 1}, {{10 + g, 7, 3}, {10 + g, 20 + g % 4, 3}}, {1, 0}));
      groups.back().ref_logprob = model::score_answers(reference, groups.back().prompt, groups.back().answers);
    }
    learner l(config, parameters, options_of("dpo"));
    CHECK(l.step(groups, 0).loss == doctest::Approx(std::log(2)).epsilon(1e-5));
    train::step_report last;
    for (int i = 0; i < 20; ++i)
      last = l.step(groups, 0);
    CHECK(last.pairs_right == 8);
    CHECK(last.loss < 0.35);
  }
}

TEST_CASE("an adapter is trained and the model's own weights are not; what is published is both") {
  auto options = options_of("sft");
  const auto base = start();
  options.adapter = model::new_adapter(base, 2, 4, "_proj$", 1);
  learner l(config, base, options);
  for (std::size_t i = 0; i < base.size(); ++i)
    CHECK(at::equal(l.parameters()[i].tensor, base[i].tensor));
  const std::vector<training_group> groups{group_of({1, 2}, {{3, 4, 5, 6}}), group_of({7}, {{8, 9}})};
  const double first = l.step(groups, 0).loss;
  double last = 0;
  for (int i = 0; i < 20; ++i)
    last = l.step(groups, 0).loss;
  CHECK(last < 0.5 * first);
  REQUIRE(l.adapter());
  const auto want = model::merged(base, *l.adapter());
  std::size_t moved = 0;
  for (std::size_t i = 0; i < base.size(); ++i) {
    CHECK(at::allclose(l.parameters()[i].tensor, want[i].tensor, 1e-5, 1e-6));
    moved += !at::equal(l.parameters()[i].tensor, base[i].tensor);
  }
  CHECK(moved == 7 * static_cast<std::size_t>(config.layers));
  // A model of the merged weights says what the adapted one says.
  learner merged(config, l.parameters(), options_of("sft"));
  CHECK(merged.step(groups, 0).loss == doctest::Approx(l.step(groups, 0).loss).epsilon(1e-4));
}

TEST_CASE("in bfloat16, an adapter's base is kept in it where no number of it is lost, with the same bits") {
  auto options = options_of("sft");
  options.computes = precision::bfloat16;
  const auto narrow = model::in_precision(start(), precision::bfloat16);
  const auto base = model::in_precision(narrow, precision::float32); // the same numbers
  options.adapter = model::new_adapter(base, 2, 4, "_proj$", 1);
  const std::vector<training_group> groups{group_of({1, 2}, {{3, 4, 5, 6}}), group_of({7}, {{8, 9}})};
  learner a(config, base, options), b(config, narrow, options), rounds(config, start(), options);
  for (std::uint32_t step = 0; step < 20; ++step) {
    const double loss = a.step(groups, step).loss;
    CHECK(loss == b.step(groups, step).loss);
    CHECK(loss == rounds.step(groups, step).loss);
  }
  CHECK(tests::equal_bits(a.adapter()->parameters, rounds.adapter()->parameters));
  // What is published is the base as it was, with the adapter, in fp32.
  for (const auto& [one, of] : {std::pair{&a, &base}, {&b, &base}}) {
    CHECK(tests::equal_bits(one->parameters(), model::merged(*of, *a.adapter())));
    for (const auto& parameter : one->parameters())
      CHECK((parameter.tensor.scalar_type() == at::kFloat));
  }
  CHECK(tests::equal_bits(rounds.parameters(), model::merged(start(), *a.adapter())));
}

TEST_CASE("adapters go on from their saved halves and moments bit for bit") {
  const tests::temporary_folder folder;
  auto options = options_of("sft");
  options.adapter = model::new_adapter(start(), 2, 4, "(q|v)_proj$", 1);
  const std::vector<training_group> groups{group_of({1, 2}, {{3, 4, 5, 6}})};
  learner a(config, start(), options);
  a.step(groups, 0);
  a.save_state(folder.path());
  model::write_adapter_files(folder.path(), *a.adapter(), a.parameters());
  options.adapter = model::load_adapter(folder.path());
  learner b(config, start(), options);
  b.load_state(folder.path());
  a.step(groups, 1);
  b.step(groups, 1);
  for (std::size_t i = 0; i < a.parameters().size(); ++i)
    CHECK(at::equal(a.parameters()[i].tensor, b.parameters()[i].tensor));
}

TEST_CASE("plain text mixed in has the gradient of its mean loss, times the coefficient") {
  const auto text = group_of({1}, {{2, 3, 4, 5}});
  // Equal rewards: the groups themselves teach nothing.
  const std::vector<training_group> nothing{group_of({1, 2}, {{3}, {4}}, {1, 1})};
  learner mixed(config, start(), options_of("grpo")), alone(config, start(), options_of("sft"));
  mixed.mix({text}, 3);
  const auto a = mixed.step(nothing, 0), b = alone.step(std::vector{text}, 0);
  CHECK(a.text_loss == doctest::Approx(b.loss).epsilon(float_tolerance));
  CHECK(a.gradient_norm == doctest::Approx(3 * b.gradient_norm).epsilon(1e-4));
  const auto model = scoring();
  learner scores(model.config, model.parameters, options_of("bradley_terry"));
  CHECK_THROWS_WITH_AS(scores.mix({text}, 1), doctest::Contains("a score head has no loss of text"),
                       std::invalid_argument);
}

} // namespace learner_heads_test
