#include "runtime/model/score_head.hpp"
#include "runtime/train/learner.hpp"
#include "runtime/train/memory_shortage.hpp"
#include "runtime/train/value_learner.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/runtime/train/limited_memory.hpp"
#include "tests/runtime/train/ranks_in_memory.hpp"
#include "tests/runtime/train/trained_policies.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <dnnl.hpp>
#include <doctest/doctest.h>

#include <fstream>
#include <future>
#include <new>
#include <random>

namespace memory_shortage_test {

using namespace millrace;
using tests::copy_of;
using tests::equal_bits;

namespace {

model::model_config wide_config() {
  auto config = tests::tiny_config("llama");
  config.layers = 3;
  config.max_positions = 512;
  return config;
}

const model::model_config config = wide_config();

const model::weights& start() {
  static const auto made = tests::random_weights(config, 3, at::kFloat, false);
  return made;
}

/// Groups of four answers of 40 to 60 tokens, with all that any algorithm reads.
std::vector<train::training_group> some_groups(std::uint64_t seed, std::size_t count = 4, std::uint64_t length = 40) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t n) { return random() % n; };
  std::vector<train::training_group> groups(count);
  for (std::size_t g = 0; g < count; ++g) {
    auto& group = groups[g];
    group.id = 10 + g;
    for (std::uint64_t i = 0; i < 5; ++i)
      group.prompt.push_back(static_cast<std::int32_t>(below(40)));
    for (int a = 0; a < 4; ++a) {
      auto& answer = group.answers.emplace_back();
      for (std::uint64_t i = 0, n = length + below(length / 2); i < n; ++i)
        answer.push_back(static_cast<std::int32_t>(below(40)));
      const auto numbers = [&](float mean) {
        std::vector<float> made;
        for (std::size_t i = 0; i < answer.size(); ++i)
          made.push_back(mean + static_cast<float>(below(1000)) / 1000);
        return made;
      };
      group.behaviour_logprob.push_back(numbers(-4));
      group.ref_logprob.push_back(numbers(-4));
      group.value.push_back(numbers(0));
      group.version.emplace_back(answer.size(), 0u);
      group.reward.push_back(static_cast<float>((a + static_cast<int>(below(2))) % 3));
    }
  }
  return groups;
}

train::learner_options options_of(const std::string& algorithm) {
  auto options = tests::policies::options_of(algorithm);
  options.micro_batch_tokens = 400;
  return options;
}

bool scores(const std::string& algorithm) {
  return algorithm == "bradley_terry";
}

train::learner learner_of(const train::learner_options& options) {
  if (!scores(options.algorithm))
    return {config, start(), options};
  model::checkpoint scorer;
  scorer.config = config;
  scorer.parameters = start();
  scorer = model::with_score_head(std::move(scorer));
  return {scorer.config, scorer.parameters, options};
}

double largest_difference(const model::weights& a, const model::weights& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    most = std::max(most, (a[i].tensor - b[i].tensor).abs().max().item<double>());
  return most;
}

/// The most that a step of the learner takes.
std::int64_t peak_of(train::learner_options options, bool recomputed, std::int64_t tokens) {
  tests::limited_memory memory;
  if (recomputed)
    options.activations = model::activations::recomputed;
  options.micro_batch_tokens = tokens;
  auto learner = learner_of(options);
  memory.take_peak();
  learner.step(some_groups(1), 0);
  return memory.take_peak();
}

struct trained {
  std::vector<train::step_report> reports;
  model::weights parameters;
};

/// Three steps. @param bytes that the second one may have; 0: all
trained train_with(const train::learner_options& options, std::int64_t bytes) {
  tests::limited_memory memory;
  auto learner = learner_of(options);
  trained out;
  for (std::uint32_t step = 0; step < 3; ++step) {
    if (step == 1 && bytes > 0)
      memory.limit(bytes);
    out.reports.push_back(learner.step(some_groups(step), step));
    CHECK(out.reports.back().result == train::step_report::outcome::applied);
  }
  memory.lift();
  out.parameters = copy_of(learner.parameters());
  return out;
}

} // namespace

TEST_CASE("memory: a failure that is an allocation's says how much it wanted, and no other does") {
  const auto said_by = [](auto fail) -> std::optional<std::string> {
    try {
      fail();
    } catch (const std::exception& failure) {
      return train::memory_wanted(failure);
    }
    return "nothing failed";
  };
  CHECK(said_by([] { throw std::bad_alloc(); }) == "");
  CHECK(said_by([] {
          TORCH_CHECK_WITH(OutOfMemoryError, false,
                           "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 139.80 GiB");
        })
        == "2.50 GiB");
  CHECK(said_by([] { at::empty({std::int64_t{1} << 50}); }) == "4503599627370496 bytes"); // 2^50 floats
  CHECK(said_by([] { throw dnnl::error(dnnl_out_of_memory, "could not create a primitive"); }) == "");
  CHECK(said_by([] { throw dnnl::error(dnnl_unimplemented, "could not create a primitive"); }) == std::nullopt);
  CHECK(said_by([] { TORCH_CHECK(false, "sizes differ"); }) == std::nullopt);
  CHECK(said_by([] { throw std::runtime_error("Tried to allocate 2 GiB"); }) == std::nullopt);
}

TEST_CASE("memory: a work that it runs out over is done once more, a work that fails otherwise is not") {
  int times = 0;
  const auto fails = [&times](int often, auto failure) {
    times = 0;
    return train::again_with_memory_given_back(at::kCPU, "a work", [&times, often, failure] {
      if (++times <= often)
        throw failure;
      return times;
    });
  };
  CHECK(fails(0, std::bad_alloc()) == 1);
  CHECK(fails(1, std::bad_alloc()) == 2);
  CHECK_THROWS_WITH_AS(fails(2, std::bad_alloc()),
                       "memory ran out over a work, twice; want more memory, or fewer or smaller roles in it",
                       train::too_large);
  CHECK(times == 2);
  CHECK_THROWS_AS(fails(1, std::logic_error("another")), std::logic_error);
  CHECK(times == 1);
}

TEST_CASE("memory: a bound first computes again, then halves down to one sequence, then says where it ends") {
  const auto groups = some_groups(1, 2);
  train::memory_bound bound(model::activations::kept, 400);
  const auto over = [&](std::int64_t tokens, bool goes_back = true, bool whole = false) {
    const auto batches =
        train::cut_micro_batches(groups, {tokens, whole ? algorithms::unit::group : algorithms::unit::answer});
    train::memory_bound::tried tries{.groups = groups, .goes_back = goes_back, .whole_groups = whole};
    for (const auto& batch : batches)
      tries.batches.push_back(&batch);
    bound.tighten(train::memory_ran_out(0, "9 bytes"), tries);
    return batches.front().fed_tokens;
  };
  over(400);
  CHECK(bound.activations() == model::activations::recomputed);
  CHECK(bound.tokens() == 400);
  const auto fed = over(400);
  CHECK(bound.tokens() == fed / 2);
  const auto halved = over(bound.tokens());
  CHECK(bound.tokens() == halved / 2);
  const auto lesson = bound.take_lesson();
  CHECK(lesson.times == 3);
  CHECK(lesson.line.find("memory ran out over a micro-batch of " + std::to_string(fed)
                         + " tokens (9 bytes more were wanted): from now on blocks are computed again")
        == 0);
  CHECK(bound.take_lesson().times == 0);
  CHECK_THROWS_WITH_AS(over(1), doctest::Contains("memory ran out over group 10, answer 0: "), train::too_large);
  CHECK_THROWS_WITH_AS(over(1, true, true), doctest::Contains("memory ran out over group 10: "), train::too_large);
  // A pass without gradients keeps no activations.
  train::memory_bound other(model::activations::kept, 400);
  std::swap(bound, other);
  over(400, false);
  CHECK(bound.activations() == model::activations::kept);
  CHECK(bound.tokens() == fed / 2);
}

TEST_CASE("memory: what a learner has learned goes with its checkpoint, until the option is another one") {
  const tests::temporary_folder folder;
  const auto loaded = [&](std::int64_t option) {
    train::memory_bound bound(model::activations::kept, option);
    bound.load(folder.path());
    return bound.tokens();
  };
  CHECK(loaded(400) == 400);
  const auto groups = some_groups(1, 2);
  train::memory_bound bound(model::activations::recomputed, 400);
  const auto batches = train::cut_micro_batches(groups, {400});
  bound.tighten(train::memory_ran_out(0, ""), {.groups = groups, .batches = {&batches[0]}});
  bound.save(folder.path());
  CHECK(loaded(400) == batches[0].fed_tokens / 2);
  CHECK(loaded(300) == 300);
  std::ofstream(folder.path() / "memory_bound") << "few\n";
  CHECK_THROWS_WITH_AS(loaded(400), doctest::Contains("memory_bound: damaged"), input_error);
}

TEST_CASE("memory: a step that runs out of it computes blocks again, to the same bits") {
  for (const std::string algorithm : {"grpo", "ppo", "sft", "dpo", "bradley_terry", "grpo in bfloat16"}) {
    CAPTURE(algorithm);
    const auto options = options_of(algorithm);
    const auto whole = train_with(options, 0);
    const auto kept = peak_of(options, false, 400), recomputed = peak_of(options, true, 400);
    REQUIRE(recomputed < kept);
    const auto bounded = train_with(options, (kept + recomputed) / 2);
    CHECK(whole.reports[1].memory_ran_out == 0);
    CHECK(bounded.reports[1].memory_ran_out >= 1);
    CHECK(bounded.reports[1].cuts.empty());
    CHECK(bounded.reports[1].lesson.find("memory ran out over") == 0);
    CHECK(bounded.reports[2].memory_ran_out == 0); // it has learned
    CHECK(bounded.reports[1].loss == whole.reports[1].loss);
    CHECK(bounded.reports[1].gradient_norm == whole.reports[1].gradient_norm);
    CHECK(equal_bits(bounded.parameters, whole.parameters));
  }
}

TEST_CASE("memory: passes that have no room side by side are computed one after another, to the same bits") {
  for (const std::string algorithm : {"grpo", "ppo", "dpo"}) {
    CAPTURE(algorithm);
    auto options = options_of(algorithm);
    options.micro_batches_at_once = 3;
    options.activations = model::activations::recomputed;
    const auto whole = train_with(options, 0);
    options.micro_batches_at_once = 1;
    const auto one = peak_of(options, true, 400); // no micro-batch of the cut is longer
    options.micro_batches_at_once = 3;
    const auto three = peak_of(options, true, 400);
    REQUIRE(one < three);
    const auto bounded = train_with(options, one + (three - one) / 8); // three are not always at their peak together
    CHECK(bounded.reports[1].memory_ran_out >= 1);
    CHECK(bounded.reports[1].lesson.find("computed one after another, to the same bits") != std::string::npos);
    CHECK(bounded.reports[1].loss == whole.reports[1].loss);
    CHECK(equal_bits(bounded.parameters, whole.parameters));
  }
}

TEST_CASE("memory: a step that still runs out of it halves its micro-batches, and a step made again has its bits") {
  for (const std::string algorithm : {"grpo", "ppo", "sft", "dpo", "bradley_terry"}) {
    CAPTURE(algorithm);
    const auto options = options_of(algorithm);
    const auto whole = train_with(options, 0);
    const auto recomputed = peak_of(options, true, 400), cut = peak_of(options, true, 150);
    REQUIRE(cut < recomputed);
    const auto bounded = train_with(options, (cut + recomputed) / 2);
    CHECK(bounded.reports[0].cuts.empty());
    REQUIRE(!bounded.reports[1].cuts.empty());
    CHECK(bounded.reports[1].cuts.back() < 400);
    CHECK(bounded.reports[1].micro_batches > whole.reports[1].micro_batches);
    CHECK(bounded.reports[2].memory_ran_out == 0);
    CHECK(bounded.reports[2].cuts.back() == bounded.reports[1].cuts.back());
    CHECK(bounded.reports[1].loss == doctest::Approx(whole.reports[1].loss).epsilon(1e-5));
    CHECK(bounded.reports[1].gradient_norm == doctest::Approx(whole.reports[1].gradient_norm).epsilon(1e-5));
    CHECK(largest_difference(bounded.parameters, whole.parameters) < 1e-3); // a step is 1e-3 at most
    // As a replay does, without the limit.
    auto again = learner_of(options);
    for (std::uint32_t step = 0; step < 3; ++step) {
      const auto report = again.step(some_groups(step), step, {}, {.cuts = bounded.reports[step].cuts});
      CHECK(report.loss == bounded.reports[step].loss);
      CHECK(report.cuts == bounded.reports[step].cuts);
    }
    CHECK(equal_bits(again.parameters(), bounded.parameters));
  }
}

TEST_CASE("memory: several updates over plain text too, where it runs out in the middle of the step") {
  auto options = options_of("grpo");
  options.updates_per_batch = 2;
  options.epochs = 2;
  options.loss.against = algorithms::proximal::recomputed;
  options.activations = model::activations::recomputed;
  auto texts = some_groups(9, 2, 100);
  const auto run = [&](std::int64_t fails_at, std::int64_t nth, std::vector<std::int64_t> cuts) {
    tests::limited_memory memory;
    auto learner = learner_of(options);
    learner.mix(texts, 0.5);
    if (fails_at > 0)
      memory.fail_once(fails_at, nth);
    auto report = learner.step(some_groups(1), 0, {}, {.cuts = fails_at > 0 ? std::nullopt : std::optional(cuts)});
    if (fails_at > 0)
      CHECK(memory.has_failed_once());
    return std::pair(report, copy_of(learner.parameters()));
  };
  // Of the blocks' outputs: that of the largest micro-batch, whose gate, up and product are computed again.
  const auto groups = some_groups(1);
  const auto parts = train::cut_updates(groups, 2, {400, algorithms::unit::answer});
  std::int64_t fed = 0;
  for (const auto& batch : parts[1].micro_batches)
    fed = std::max(fed, batch.fed_tokens);
  bool later = false;
  for (const std::int64_t nth : {1, 15, 40}) {
    CAPTURE(nth);
    const auto [report, parameters] = run(fed * config.ffn_size * 4, nth, {});
    REQUIRE(report.cuts.size() == 5); // the old policy's pass and four updates
    CHECK(report.memory_ran_out == 1);
    later = later || report.cuts[1] == 400;
    const auto [again, same] = run(0, 0, report.cuts);
    CHECK(again.loss == report.loss);
    CHECK(equal_bits(parameters, same));
  }
  CHECK(later);
}

TEST_CASE("memory: a sequence that is too large for it ends the step in one line, and a later step trains") {
  auto options = options_of("grpo");
  options.activations = model::activations::recomputed;
  tests::limited_memory memory;
  auto learner = learner_of(options);
  const auto before = copy_of(learner.parameters());
  memory.take_peak();
  learner.parameters();
  memory.limit(memory.take_peak() + 60'000);
  CHECK_THROWS_WITH_AS(learner.step(some_groups(1, 1), 0), doctest::Contains("memory ran out over group 10, answer "),
                       train::too_large);
  memory.lift();
  CHECK(equal_bits(before, learner.parameters()));
  CHECK(learner.step(some_groups(1), 0).result == train::step_report::outcome::applied);
}

TEST_CASE("memory: a critic computes again and halves as a policy does") {
  model::checkpoint scorer;
  scorer.config = config;
  scorer.parameters = start();
  scorer = model::with_score_head(std::move(scorer));
  train::value_learner_options options;
  options.device = "cpu";
  options.threads = 1;
  options.optimizer.lr = 1e-3;
  options.micro_batch_tokens = 400;
  const auto groups = some_groups(1);
  const auto run = [&](std::int64_t bytes, std::optional<std::int64_t> cut, std::int64_t tokens, bool recomputed) {
    tests::limited_memory memory;
    auto own = options;
    own.micro_batch_tokens = tokens;
    if (recomputed)
      own.activations = model::activations::recomputed;
    train::value_learner learner(scorer.config, scorer.parameters, own);
    memory.take_peak();
    if (bytes > 0)
      memory.limit(bytes);
    const auto report = learner.gradient(groups, 0, {}, {}, cut);
    const auto peak = memory.take_peak();
    memory.lift();
    learner.apply();
    return std::tuple(report, copy_of(learner.parameters()), peak);
  };
  const auto [whole, same, kept] = run(0, {}, 400, false);
  const auto recomputed = std::get<2>(run(0, {}, 400, true)), small = std::get<2>(run(0, {}, 150, true));
  const auto [first, first_bits, _] = run((kept + recomputed) / 2, {}, 400, false);
  CHECK(first.memory_ran_out >= 1);
  CHECK(first.cut == 0);
  CHECK(first.loss == whole.loss);
  CHECK(equal_bits(first_bits, same));
  const auto [halved, halved_bits, most] = run((small + recomputed) / 2, {}, 400, false);
  CHECK(halved.cut > 0);
  CHECK(halved.cut < 400);
  CHECK(most <= (small + recomputed) / 2);
  CHECK(halved.loss == doctest::Approx(whole.loss).epsilon(1e-5));
  const auto [again, again_bits, peak] = run(0, halved.cut, 400, false);
  CHECK(again.loss == halved.loss);
  CHECK(equal_bits(again_bits, halved_bits));
}

namespace {

/// Steps of ranks, of whom one cannot have the n-th allocation of so many bytes.
trained train_ranks(int ranks, sharding shard, train::learner_options options, std::int64_t bytes, std::int64_t nth) {
  tests::limited_memory memory;
  tests::ranks_in_memory team(ranks);
  const auto own = [&](int r) {
    auto mine = options;
    mine.seat = {{r, ranks, shard}, ranks > 1 ? team.link(r) : nullptr};
    return learner_of(mine);
  };
  std::vector<std::future<void>> others;
  for (int r = 1; r < ranks; ++r)
    others.push_back(std::async(std::launch::async, [&, r] { own(r).follow(); }));
  auto learner = own(0);
  trained out;
  learner.step(some_groups(0), 0);
  memory.fail_once(bytes, nth);
  for (std::uint32_t step = 1; step < 3; ++step)
    out.reports.push_back(learner.step(some_groups(step), step));
  CHECK(memory.has_failed_once());
  memory.lift();
  out.parameters = copy_of(learner.parameters());
  team.end();
  for (auto& other : others)
    other.get();
  return out;
}

} // namespace

TEST_CASE("memory: where it runs out for one of several ranks, all begin the update again, to the same bits") {
  auto options = options_of("grpo");
  const auto whole = train_ranks(1, sharding::none, options, -1, 0);
  // A block's gate, up and their product in the forward pass, and their gradients in the backward pass, of step 1.
  std::int64_t fed = 0;
  for (const auto& batch : train::cut_micro_batches(some_groups(1), {400}))
    fed = std::max(fed, batch.fed_tokens);
  const std::int64_t wide = fed * config.ffn_size * 4;
  for (const auto shard : {sharding::none, sharding::optimizer, sharding::full})
    for (const int ranks : {1, 2, 3})
      for (std::int64_t nth = ranks; nth <= 15; nth += 3) { // each place with some number of ranks
        CAPTURE(ranks);
        CAPTURE(nth);
        const auto bounded = train_ranks(ranks, shard, options, wide, nth);
        CHECK(bounded.reports[0].memory_ran_out == 1);
        CHECK(bounded.reports[1].memory_ran_out == 0);
        CHECK(bounded.reports[0].loss == whole.reports[0].loss);
        CHECK(equal_bits(bounded.parameters, whole.parameters));
      }
}

TEST_CASE("memory: ranks that halve have the bits of one that halves") {
  auto options = options_of("grpo");
  options.activations = model::activations::recomputed;
  std::int64_t fed = 0;
  for (const auto& batch : train::cut_micro_batches(some_groups(1), {400}))
    fed = std::max(fed, batch.fed_tokens);
  const auto one = train_ranks(1, sharding::none, options, fed * config.ffn_size * 4, 2);
  CHECK(one.reports[0].cuts == std::vector<std::int64_t>{fed / 2});
  for (const auto shard : {sharding::none, sharding::optimizer, sharding::full}) {
    const auto two = train_ranks(2, shard, options, fed * config.ffn_size * 4, 2);
    CHECK(two.reports[0].cuts == one.reports[0].cuts);
    CHECK(two.reports[1].cuts == one.reports[1].cuts);
    CHECK(two.reports[1].loss == one.reports[1].loss);
    CHECK(equal_bits(two.parameters, one.parameters));
  }
}

} // namespace memory_shortage_test
