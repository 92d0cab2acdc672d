#include "runtime/model/score_head.hpp"
#include "runtime/train/learner.hpp"
#include "runtime/train/micro_batches.hpp"
#include "runtime/train/value_learner.hpp"
#include "tests/runtime/train/trained_policies.hpp"

#include <doctest/doctest.h>

namespace passes_at_once_test {

using namespace millrace;
using namespace tests::policies;
using tests::copy_of;

namespace {

/// What micro-batches are fed at most, so that they are those of `at_once` side by side.
std::int64_t budget_of(std::int64_t most, algorithms::unit whole, int at_once,
                       std::span<const train::training_group> groups) {
  const auto fed = [&](std::int64_t budget, int side_by_side) {
    std::vector<std::int64_t> tokens;
    for (const auto& batch : train::cut_micro_batches(groups, {budget, whole, side_by_side}))
      tokens.push_back(batch.fed_tokens);
    return tokens;
  };
  std::int64_t budget = 1;
  while (fed(budget, 1) != fed(most, at_once))
    REQUIRE(++budget <= most);
  return budget;
}

trained train_at_once(train::learner_options options, int at_once) {
  options.micro_batches_at_once = at_once;
  options.threads = at_once; // one each
  trained out;
  train::learner learner(config, start(), options);
  for (std::uint32_t step = 0; step < steps; ++step)
    take_in(out, learner.step(some_groups(step, step), step));
  out.parameters = copy_of(learner.parameters());
  return out;
}

trained train_one_by_one(const train::learner_options& options, int at_once) {
  trained out;
  train::learner learner(config, start(), options);
  const auto whole = algorithms::find(options.algorithm)->whole;
  for (std::uint32_t step = 0; step < steps; ++step) {
    const auto groups = some_groups(step, step);
    const auto budget = budget_of(options.micro_batch_tokens, whole, at_once, groups);
    const std::vector cuts(2, budget); // of the pass over the old policy too
    take_in(out, learner.step(groups, step, {}, {.cuts = cuts}));
  }
  out.parameters = copy_of(learner.parameters());
  return out;
}

std::vector<train::training_group> some_texts(std::uint64_t seed) {
  std::vector<train::training_group> texts;
  for (auto& group : some_groups(seed, 0)) {
    auto& text = texts.emplace_back();
    text.prompt = {group.prompt.front()};
    text.answers = {std::move(group.answers.front())};
  }
  return texts;
}

} // namespace

TEST_CASE("passes at once: a policy learns the bits of one that computes the same micro-batches one by one") {
  for (const std::string algorithm : {"grpo", "ppo", "dapo", "dr_grpo", "sft", "grpo in bfloat16"}) {
    CAPTURE(algorithm);
    auto options = options_of(algorithm);
    options.skip_flat_groups = false; // their micro-batches are those of the whole step
    for (const int at_once : {2, 3}) {
      CAPTURE(at_once);
      check_same(train_one_by_one(options, at_once), train_at_once(options, at_once));
    }
  }
}

TEST_CASE("passes at once: several updates, parts of a step, an adapter and plain text") {
  auto options = options_of("grpo");
  options.updates_per_batch = 2;
  options.epochs = 2;
  options.loss.against = algorithms::proximal::recomputed;
  options.micro_batches_at_once = 2;
  const auto with_parts = [&](bool adapted, int threads) {
    auto own = options;
    own.threads = threads; // two passes of one thread each, in either case
    if (adapted)
      own.adapter = model::new_adapter(start(), 4, 8, "q_proj|up_proj", 7);
    train::learner learner(config, start(), own);
    trained out;
    for (std::uint32_t step = 0; step < 4; ++step) {
      const auto groups = some_groups(step, step);
      learner.mix(some_texts(100 + step), 0.5);
      take_in(out, learner.step(std::span(groups).first(3), step, {}, {.begins = true, .ends = false}));
      learner.mix(some_texts(200 + step), 0.5);
      take_in(out, learner.step(std::span(groups).subspan(3), step, {}, {.begins = false, .ends = true}));
    }
    out.parameters = copy_of(learner.parameters());
    return out;
  };
  for (const bool adapted : {false, true}) {
    CAPTURE(adapted);
    check_same(with_parts(adapted, 1), with_parts(adapted, 2));
  }
}

TEST_CASE("passes at once: a critic learns the bits of one that computes the same micro-batches one by one") {
  const auto scorer = model::with_score_head({.config = config, .parameters = start()});
  const auto train_critic = [&](int at_once) {
    train::value_learner_options options;
    options.device = "cpu";
    options.threads = 1;
    options.optimizer.lr = 1e-3;
    options.micro_batch_tokens = 40;
    options.micro_batches_at_once = at_once;
    train::value_learner learner(scorer.config, scorer.parameters, options);
    trained out;
    for (std::uint32_t step = 0; step < steps; ++step) {
      const auto groups = some_groups(step, step);
      const auto cut = at_once > 1 ? 40 : budget_of(40, algorithms::unit::answer, 2, groups);
      const auto report = learner.gradient(groups, step, {}, {}, cut);
      for (const double figure : {report.loss, report.gradient_norm, report.seen.explained_variance()})
        out.figures.push_back(figure);
      learner.apply();
    }
    out.parameters = copy_of(learner.parameters());
    return out;
  };
  check_same(train_critic(1), train_critic(2));
}

} // namespace passes_at_once_test
