#include "runtime/formats/safetensors.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/train/learner.hpp"
#include "runtime/train/mask_old.hpp"
#include "runtime/train/value_learner.hpp"
#include "runtime/words/enum_words.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/runtime/train/ranks_in_memory.hpp"
#include "tests/runtime/train/trained_policies.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <limits>
#include <random>

namespace team_test {

using namespace millrace;
using tests::copy_of;
using tests::equal_bits;
using namespace tests::policies;

namespace {

constexpr std::array all_shards{sharding::none, sharding::optimizer, sharding::full};

/// Runs `lead` on a learner of so many ranks. The others live on threads of their own.
template <class Make, class Lead>
void with_team(int ranks, sharding shard, tests::ranks_in_memory& team, Make make, Lead lead) {
  const auto own = [&](int r) { return make(ranks > 1 ? team.link(r) : nullptr, train::team_place{r, ranks, shard}); };
  std::vector<std::future<void>> others;
  for (int r = 1; r < ranks; ++r)
    others.push_back(std::async(std::launch::async, [&, r] { own(r).follow(); }));
  auto leader = own(0);
  std::exception_ptr thrown;
  try {
    lead(leader);
  } catch (...) {
    thrown = std::current_exception();
  }
  team.end();
  for (auto& other : others)
    other.get();
  if (thrown)
    std::rethrow_exception(thrown);
}

/// How a rank makes its learner.
auto learner_with(train::learner_options options) {
  return [options](std::shared_ptr<collective::group_source> link, train::team_place place) {
    auto own = options;
    own.seat = {place, std::move(link)};
    return train::learner(config, start(), own);
  };
}

struct losing {
  int rank = 0;
  std::int64_t exchanges = 0; ///< 0: nothing is lost
};

trained train_policy(int ranks, const train::learner_options& options, losing lost = {},
                     sharding shard = sharding::none) {
  trained out;
  tests::ranks_in_memory team(ranks);
  if (lost.exchanges > 0)
    team.lose(lost.rank, lost.exchanges);
  with_team(ranks, shard, team, learner_with(options), [&](train::learner& learner) {
    for (std::uint32_t step = 0; step < steps; ++step) {
      const auto report = learner.step(some_groups(step, step), step);
      take_in(out, report);
    }
    out.parameters = copy_of(learner.parameters());
  });
  out.groups_of_ranks = team.groups();
  return out;
}

/// A group of `some_groups(step, step)`, whose id says which it is.
train::training_group shared_group(std::uint64_t id) {
  auto group = std::move(some_groups(id / 5, static_cast<std::uint32_t>(id / 5)).at(id % 5));
  group.id = id;
  group.value.clear();
  return group;
}

/// Trains groups of which each rank keeps every so manieth. The first rank has outlines of the others.
trained train_shared(int ranks, train::learner_options options, sharding shard, losing lost = {},
                     age_mask mask = age_mask::none) {
  const auto kept_by = [ranks](int rank) {
    return [=](std::uint64_t id) {
      return static_cast<int>(id * 7 % 5) % ranks == rank
                 ? std::make_shared<const train::training_group>(shared_group(id))
                 : nullptr;
    };
  };
  trained out;
  tests::ranks_in_memory team(ranks);
  if (lost.exchanges > 0)
    team.lose(lost.rank, lost.exchanges);
  const auto make = [&](std::shared_ptr<collective::group_source> link, train::team_place place) {
    auto own = options;
    own.kept = kept_by(place.rank);
    own.seat = {place, std::move(link)};
    return train::learner(config, start(), own);
  };
  with_team(ranks, shard, team, make, [&](train::learner& learner) {
    for (std::uint32_t step = 0; step < steps; ++step) {
      std::vector<train::training_group> groups;
      for (std::uint64_t id = 5 * step; id < 5 * step + 5; ++id) {
        const std::vector whole{std::make_shared<const train::training_group>(shared_group(id))};
        groups.push_back(kept_by(0)(id) ? *whole[0] : train::unpacked_outlines(train::packed_outlines(whole))[0].group);
      }
      train::mask_old(groups, mask, step);
      const auto report = learner.step(groups, step, {}, {.mask = mask, .train_from = step});
      take_in(out, report);
    }
    out.parameters = copy_of(learner.parameters());
  });
  out.groups_of_ranks = team.groups();
  return out;
}

} // namespace

TEST_CASE("ranks: learners of one process do not disturb each other") {
  const auto options = options_of("ppo");
  const auto one = train_policy(1, options);
  std::vector<std::future<trained>> several;
  for (int i = 0; i < 4; ++i)
    several.push_back(std::async(std::launch::async, [&] { return train_policy(1, options); }));
  for (auto& other : several)
    check_same(one, other.get());
}

TEST_CASE("ranks: a policy learns the same bits for any number of them") {
  for (const std::string algorithm : {"grpo", "ppo", "dapo", "dr_grpo", "sft", "grpo in bfloat16"}) {
    CAPTURE(algorithm);
    const auto options = options_of(algorithm);
    const bool half = options.computes == precision::bfloat16;
    const auto one = train_policy(1, options);
    CHECK(one.figures[5] > 3); // micro-batches of the first step: ranks have something to share
    for (const int ranks : half ? std::vector{3} : std::vector{2, 3, 4}) {
      CAPTURE(ranks);
      for (const auto shard : all_shards)
        check_same(one, train_policy(ranks, options, {}, shard));
    }
  }
}

TEST_CASE("ranks: micro-batches that are cut for two at once have the same bits on ranks and side by side") {
  auto options = options_of("grpo");
  options.micro_batches_at_once = 2;
  const auto alone = train_policy(1, options);
  for (const auto shard : all_shards)
    check_same(alone, train_policy(2, options, {}, shard));
  options.micro_batches_at_once = 0;
  CHECK_THROWS_WITH_AS(train_policy(1, options), "micro_batches_at_once: 0, want >= 1", std::invalid_argument);
}

TEST_CASE("ranks: where each keeps some of the groups, a policy learns the same bits for any number of them") {
  for (const std::string algorithm : {"grpo", "dapo", "dr_grpo", "sft", "dpo", "reinforce_pp"}) {
    CAPTURE(algorithm);
    const auto options = options_of(algorithm);
    const auto one = train_policy(1, options);
    for (const int ranks : {1, 2, 3, 4}) {
      CAPTURE(ranks);
      for (const auto shard : all_shards)
        check_same(one, train_shared(ranks, options, shard));
    }
  }
}

TEST_CASE("ranks: several updates of groups that each keeps some of, anchored at the rollout's policy") {
  auto options = options_of("grpo");
  options.updates_per_batch = 2;
  options.epochs = 2;
  options.loss.against = algorithms::proximal::behaviour;
  options.loss.kl_coefficient = 0.05;
  const auto one = train_policy(1, options);
  check_same(one, train_shared(3, options, sharding::none));
  check_same(one, train_shared(3, options, sharding::none, {.rank = 2, .exchanges = 111}));
}

TEST_CASE("ranks: which groups they cannot share out") {
  CHECK(train::shares_groups(options_of("grpo")));
  for (const std::string algorithm : {"ppo", "vtrace"})
    CHECK(!train::shares_groups(options_of(algorithm)));
  auto options = options_of("reinforce_pp");
  CHECK(train::shares_groups(options));
  options.algorithm_options["kl_in_reward"] = 0.1;
  CHECK(!train::shares_groups(options));
  options = options_of("grpo");
  options.epochs = 2;
  CHECK(!train::shares_groups(options)); // the recomputed policy takes a pass of its own
  options.kept = [](std::uint64_t) { return nullptr; };
  CHECK_THROWS_WITH_AS(train::learner(config, start(), options), doctest::Contains("ranks share out its groups"),
                       std::invalid_argument);
}

TEST_CASE("ranks: several updates, epochs, KL that follows a target and activations that are recomputed") {
  auto options = options_of("grpo");
  options.updates_per_batch = 2;
  options.epochs = 2;
  options.loss.kl_coefficient = 0.05;
  options.loss.entropy_coefficient = 0.01;
  options.kl_control = {.target = 0.1, .horizon = 100};
  options.activations = model::activations::recomputed;
  const auto one = train_policy(1, options);
  for (const auto shard : all_shards)
    check_same(one, train_policy(3, options, {}, shard));
  options.computes = precision::bfloat16;
  check_same(train_policy(1, options), train_policy(2, options, {}, sharding::full));
}

namespace {

/// Steps in two parts, of which the second needs the parameters of the step's start.
trained train_parts(int ranks, sharding shard, precision computes = precision::float32) {
  auto options = options_of("ppo");
  options.computes = computes;
  options.loss.against = algorithms::proximal::recomputed;
  trained out;
  tests::ranks_in_memory team(ranks);
  with_team(ranks, shard, team, learner_with(options), [&](train::learner& learner) {
    for (std::uint32_t step = 0; step < 6; ++step) {
      const auto groups = some_groups(step, step);
      const std::span all(groups);
      for (const bool first : {true, false}) {
        const auto report = learner.step(first ? all.first(2) : all.subspan(2), step, {},
                                         {.begins = first, .ends = !first, .moves = true});
        REQUIRE(report.result == train::step_report::outcome::applied);
        out.figures.insert(out.figures.end(), {report.loss, report.gradient_norm, report.seen.kl_k3()});
        const auto then = copy_of(learner.version_parameters());
        out.figures.push_back(then[3].tensor.sum(at::kDouble).item<double>());
      }
    }
    out.parameters = copy_of(learner.parameters());
  });
  return out;
}

} // namespace

TEST_CASE("ranks: a step in parts keeps the parameters of its start") {
  const auto one = train_parts(1, sharding::none);
  CHECK(one.figures[3] != one.figures[7]); // the step has ended
  for (const auto shard : all_shards)
    check_same(one, train_parts(3, shard));
  const auto half = train_parts(1, sharding::none, precision::bfloat16);
  CHECK(half.figures != one.figures);
  for (const auto shard : {sharding::none, sharding::full})
    check_same(half, train_parts(2, shard, precision::bfloat16));
}

TEST_CASE("ranks: more of them than a step has micro-batches") {
  auto options = options_of("grpo");
  options.micro_batch_tokens = 100'000;
  const auto one = train_policy(1, options);
  CHECK(one.figures[5] == 1);
  for (const auto shard : all_shards)
    check_same(one, train_policy(3, options, {}, shard));
}

TEST_CASE("ranks: one that is lost at any moment changes no number") {
  auto options = options_of("grpo");
  const auto whole = train_policy(1, options);
  std::mt19937_64 random(7);
  for (int trial = 0; trial < 12; ++trial) {
    const losing lost{.rank = trial % 3, .exchanges = 1 + static_cast<std::int64_t>(random() % (13 * steps))};
    CAPTURE(lost.rank);
    CAPTURE(lost.exchanges);
    const auto again = train_policy(3, options, lost);
    CHECK(again.groups_of_ranks == 2);
    check_same(whole, again);
  }
  options.computes = precision::bfloat16;
  check_same(train_policy(1, options), train_policy(2, options, {.rank = 1, .exchanges = 300}));
}

TEST_CASE("ranks: who loses a rank that kept a share of moments or parameters cannot go on, and says so") {
  const auto options = options_of("grpo");
  CHECK_THROWS_WITH_AS(train_policy(2, options, {.rank = 1, .exchanges = 230}, sharding::full),
                       doctest::Contains("share of the parameters"), std::runtime_error);
  check_same(train_policy(1, options), train_policy(2, options, {.rank = 1, .exchanges = 20}, sharding::full));
  CHECK_THROWS_WITH_AS(train_policy(2, options, {.rank = 1, .exchanges = 200}, sharding::optimizer),
                       doctest::Contains("share of the optimizer's moments"), std::runtime_error);
  // Nothing has changed yet: they begin anew.
  check_same(train_policy(1, options), train_policy(2, options, {.rank = 1, .exchanges = 5}, sharding::optimizer));
}

TEST_CASE("ranks: all of them write one checkpoint, which any number of them reads") {
  const tests::temporary_folder folder;
  auto options = options_of("grpo");
  const auto first_half = [&](int ranks, sharding shard, const std::filesystem::path& to, bool goes_on = false) {
    tests::ranks_in_memory team(ranks);
    model::weights parameters;
    with_team(ranks, shard, team, learner_with(options), [&](train::learner& learner) {
      for (std::uint32_t step = 0; step < 5; ++step)
        learner.step(some_groups(step, step), step);
      CHECK_THROWS_WITH_AS(learner.save_state(to), doctest::Contains("optimizer.safetensors: cannot create"),
                           input_error); // and the ranks go on
      std::filesystem::create_directories(to);
      parameters = copy_of(learner.parameters());
      const auto written = learner.begin_to_save(to, to);
      if (goes_on) { // what is written is the state before the step, whose update waits
        learner.step(some_groups(5, 5), 5);
        CHECK(written.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
      }
      learner.end_saving();
    });
    return parameters;
  };
  const auto parameters = first_half(1, sharding::none, folder.path() / "one");
  CHECK(equal_bits(parameters, first_half(3, sharding::optimizer, folder.path() / "three")));
  CHECK(equal_bits(parameters, first_half(4, sharding::full, folder.path() / "four")));
  for (const auto& [ranks, shard] :
       {std::pair(1, sharding::none), std::pair(2, sharding::optimizer), std::pair(2, sharding::full)})
    CHECK(
        equal_bits(parameters, first_half(ranks, shard, folder.path() / ("beside " + std::string(word(shard))), true)));
  for (const auto* file_name : {"optimizer.safetensors", "model.safetensors"}) {
    const auto text = [&](const char* name) {
      std::ifstream file(folder.path() / name / file_name, std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(file), {});
    };
    CHECK(!text("one").empty());
    CHECK(text("one") == text("three"));
    CHECK(text("one") == text("four"));
    for (const auto* beside : {"beside none", "beside optimizer", "beside full"})
      CHECK(text("one") == text(beside));
  }
  const formats::safetensors_file written(folder.path() / "four" / "model.safetensors");
  for (const auto& parameter : parameters)
    CHECK(at::equal(model::to_float32(*written.find(parameter.name)), parameter.tensor));
  const auto second_half = [&](int ranks, sharding shard) {
    tests::ranks_in_memory team(ranks);
    model::weights found;
    with_team(
        ranks, shard, team,
        [&](std::shared_ptr<collective::group_source> link, train::team_place place) {
          auto own = options;
          own.seat = {place, std::move(link)};
          train::learner learner(config, parameters, own);
          learner.load_state(folder.path() / "four");
          return learner;
        },
        [&](train::learner& learner) {
          for (std::uint32_t step = 5; step < 10; ++step)
            learner.step(some_groups(step, step), step);
          found = copy_of(learner.parameters());
        });
    return found;
  };
  const auto goes_on = second_half(1, sharding::none);
  for (const int ranks : {2, 3, 4})
    for (const auto shard : all_shards)
      CHECK(equal_bits(goes_on, second_half(ranks, shard)));
}

TEST_CASE("ranks: a loss that is not finite ends the step for all of them") {
  auto options = options_of("grpo");
  options.loss.kl_coefficient = std::numeric_limits<double>::infinity();
  for (const auto& [ranks, shard] :
       {std::pair(1, sharding::none), std::pair(3, sharding::none), std::pair(3, sharding::full)}) {
    tests::ranks_in_memory team(ranks);
    with_team(ranks, shard, team, learner_with(options), [&](train::learner& learner) {
      const auto report = learner.step(some_groups(1, 0), 0);
      CHECK(report.result == train::step_report::outcome::not_finite);
      CHECK(report.micro_batches == 0);
      CHECK(!report.culprits.empty());
    });
  }
}

TEST_CASE("ranks: a critic learns the same bits for any number of them") {
  model::checkpoint scorer;
  scorer.config = config;
  scorer.parameters = tests::random_weights(config, 5, at::kFloat, false);
  scorer = model::with_score_head(std::move(scorer));
  const auto train_critic = [&](int ranks, sharding shard, precision computes = precision::float32) {
    trained out;
    tests::ranks_in_memory team(ranks);
    with_team(
        ranks, shard, team,
        [&](std::shared_ptr<collective::group_source> link, train::team_place place) {
          train::value_learner_options options;
          options.computes = computes;
          options.device = "cpu";
          options.threads = 1;
          options.optimizer.lr = 1e-3;
          options.micro_batch_tokens = 40;
          options.seat = {place, std::move(link)};
          return train::value_learner(scorer.config, scorer.parameters, options);
        },
        [&](train::value_learner& learner) {
          for (std::uint32_t step = 0; step < steps; ++step) {
            const auto report = learner.gradient(some_groups(step, step), step);
            for (const double figure : {report.loss, report.gradient_norm, report.seen.explained_variance()})
              out.figures.push_back(figure);
            if (step % 5 != 4) // a gradient that does not count
              learner.apply();
          }
          out.parameters = copy_of(learner.parameters());
        });
    return out;
  };
  const auto one = train_critic(1, sharding::none);
  for (const int ranks : {2, 3, 4})
    for (const auto shard : all_shards)
      check_same(one, train_critic(ranks, shard));
  const auto half = train_critic(1, sharding::none, precision::bfloat16);
  CHECK(half.figures != one.figures);
  for (const auto shard : all_shards)
    check_same(half, train_critic(2, shard, precision::bfloat16));
}

} // namespace team_test
