#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/virtual_time.hpp"
#include "tests/runtime/schedule/action_text.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <random>
#include <set>

namespace preset_formula_test {

using namespace millrace;
using namespace millrace::schedule;

/// Each system's own formula, over the trace of runs with random costs: what it may admit, what makes its batch, what
/// it gives up. The formulas were read in the systems' sources, in the files named at each (May to August 2026). Plain
/// lists, recounted at every event; nothing of the scheduler is asked but what an event or an action says.
namespace {

using ids = std::vector<group_id>;

struct seen_group {
  worker_id worker = 0;
  version_id start = 0;      ///< of the worker, when it began
  std::uint32_t attempt = 0; ///< 0: void
  bool running = true;
  bool finished = false;
  int resumed = 0;
};

/// What any reader of the trace knows before the actions of an event are carried out.
struct seen {
  config set;
  std::uint64_t size = 0; ///< B
  std::map<worker_id, version_id> runs;
  std::map<group_id, seen_group> live; ///< neither trained nor given up
  ids ready;                           ///< in the order of completion
  std::uint64_t admitted = 0;          ///< new groups
  std::uint64_t given_up = 0;
  std::uint32_t step = 0;
  bool training = false;
  cut batch;
  std::set<group_id> taken; ///< of this step, by earlier updates

  version_id v() const {
    auto slowest = step;
    for (const auto& [id, version] : runs)
      slowest = std::min(slowest, version);
    return slowest;
  }

  std::uint64_t running() const {
    return static_cast<std::uint64_t>(
        std::count_if(live.begin(), live.end(), [](const auto& one) { return one.second.running; }));
  }

  std::uint64_t running_on(worker_id id) const {
    return static_cast<std::uint64_t>(std::count_if(
        live.begin(), live.end(), [&](const auto& one) { return one.second.running && one.second.worker == id; }));
  }

  void happened(const event& what) {
    if (const auto* joined = std::get_if<worker_joined>(&what))
      runs[joined->worker] = joined->holds.value_or(0);
    if (const auto* flipped = std::get_if<version_acknowledged>(&what))
      runs[flipped->worker] = flipped->version;
    if (const auto* ended = std::get_if<group_finished>(&what))
      live.at(ended->group).running = false, live.at(ended->group).finished = true;
    if (const auto* stopped = std::get_if<group_interrupted>(&what))
      live.at(stopped->group).running = false;
    if (const auto* scored = std::get_if<group_ready>(&what);
        scored && live.contains(scored->group) && live.at(scored->group).attempt == scored->attempt)
      ready.push_back(scored->group);
    if (const auto* done = std::get_if<batch_trained>(&what)) {
      for (const auto id : batch.groups)
        live.erase(id);
      training = false;
      step += batch.ends_step;
      (void)done;
    }
  }

  void carry_out(const action& one) {
    if (const auto* started = std::get_if<admit>(&one)) {
      admitted += !live.contains(started->group);
      auto& group = live[started->group];
      group = {started->worker,
               started->resume ? group.start : started->born,
               started->attempt,
               true,
               false,
               group.resumed + started->resume};
    }
    if (const auto* gone = std::get_if<drop>(&one)) {
      live.erase(gone->group);
      std::erase(ready, gone->group);
      ++given_up;
    }
    if (const auto* stopped = std::get_if<cancel>(&one)) {
      auto& group = live.at(stopped->group);
      group.running = group.finished = false;
      group.attempt = 0;
      std::erase(ready, stopped->group);
    }
    if (const auto* made = std::get_if<cut>(&one)) {
      batch = *made;
      training = true;
      for (const auto id : made->groups)
        std::erase(ready, id);
    }
  }
};

workload random_costs(std::mt19937_64& random) {
  const auto up_to = [&](int high) { return static_cast<double>(random() % 1000) / 1000 * high; };
  workload costs;
  costs.workers = 1 + random() % 3;
  costs.groups_per_worker = 2 + random() % 6;
  costs.answers_per_group = 1 + random() % 3;
  costs.mean_tokens = 20 + up_to(200);
  costs.length_cv = up_to(2);
  costs.max_tokens = 400;
  costs.columns_s = up_to(1);
  costs.train_s = up_to(8);
  costs.publish_s = up_to(2);
  costs.seed = random();
  return costs;
}

/// Before each action: what was seen, and it; after the last of an event: no action.
using oracle = std::function<void(const seen&, const action*)>;

/// Forty random workloads.
void follow(const char* name, std::uint64_t seed, const oracle& check,
            const std::function<void(config&)>& change = {}) {
  std::mt19937_64 random(seed);
  for (int round = 0; round < 40; ++round) {
    auto set = preset(name);
    set.groups_per_step = 2 + random() % 5;
    set.steps = 14;
    set.clock.minibatches = std::min(set.clock.minibatches, set.groups_per_step);
    if (change)
      change(set);
    const auto costs = random_costs(random);
    seen now;
    now.set = set;
    now.size = set.groups_per_step;
    const auto result =
        simulate(set, costs, [&](const event& what, const std::vector<action>& actions, const scheduler& it, double) {
          now.happened(what);
          for (const auto& one : actions) {
            if (!it.finished() && !std::holds_alternative<checkpoint>(one) && now.step < set.steps)
              check(now, &one);
            now.carry_out(one);
          }
          if (now.step < set.steps)
            check(now, nullptr);
        });
    REQUIRE(result.steps == set.steps);
  }
}

template <class Action>
const Action* as(const action* one) {
  return one ? std::get_if<Action>(one) : nullptr;
}

bool is_new(const seen& now, const admit& one) {
  return !now.live.contains(one.group);
}

ids lowest(ids all, std::size_t count) {
  std::sort(all.begin(), all.end());
  all.resize(std::min(all.size(), count));
  return all;
}

ids first(const ids& all, std::size_t count) {
  return lowest(ids(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(count, all.size()))), count);
}

/// The `count` ready groups that began under the oldest weights.
ids oldest(const seen& now, std::size_t count) {
  auto all = now.ready;
  std::sort(all.begin(), all.end(), [&](group_id a, group_id b) {
    return std::pair{now.live.at(a).start, a} < std::pair{now.live.at(b).start, b};
  });
  return first(all, count);
}

} // namespace

// inclusionAI/AReaL, areal/infra/staleness_manager.py, get_capacity: what may start is (max_staleness + version + 1)
// times the consumer's batch, less everything accepted or running; accepted is never taken back, a rejected rollout is
// not counted. A batch is the earliest submissions among the finished ones (create_time, async_task_runner.py),
// whatever their age.
TEST_CASE("areal: capacity counts everything accepted or running, the oldest submissions make the batch") {
  follow("areal", 1, [](const seen& now, const action* one) {
    if (const auto* started = as<admit>(one); started && is_new(now, *started))
      REQUIRE(now.admitted < (4 + now.v() + 1) * now.size);
    if (const auto* made = as<cut>(one))
      REQUIRE(made->groups == lowest(now.ready, now.size));
    if (!one && !now.training)
      REQUIRE(now.ready.size() < now.size);
  });
}

// NovaSky-AI/SkyRL, skyrl/train/fully_async_trainer.py, _compute_capacity_unlocked: (max_staleness_steps + global_step)
// times the mini-batch, less accepted and running; global_step is the step being worked on, v + 1. Batches in the order
// of completion.
TEST_CASE("skyrl: the same capacity, and the first B to complete make the batch") {
  follow("skyrl", 2, [](const seen& now, const action* one) {
    if (const auto* started = as<admit>(one); started && is_new(now, *started))
      REQUIRE(now.admitted < (4 + now.v() + 1) * now.size);
    if (const auto* made = as<cut>(one))
      REQUIRE(made->groups == first(now.ready, now.size));
    if (!one && !now.training)
      REQUIRE(now.ready.size() < now.size);
  });
}

// ServiceNow/PipelineRL, pipelinerl/actor.py: with max_lag samples, ceil(max_lag / attempts) + groups_per_update groups
// may be submitted before the first update, and groups_per_update more with each version; max_lag is 2 B groups' here.
// The trainer takes the stream in pieces as it comes.
TEST_CASE("pipeline_rl: lag and a batch more at each version, updates in the order of completion") {
  follow("pipeline_rl", 3, [](const seen& now, const action* one) {
    if (const auto* started = as<admit>(one); started && is_new(now, *started))
      REQUIRE(now.admitted < 2 * now.size + now.size * (now.v() + 1));
    if (const auto* made = as<cut>(one))
      REQUIRE(made->groups == first(now.ready, made->groups.size()));
  });
}

// PrimeIntellect-ai/prime-rl, src/prime_rl/orchestrator: the gate is closed while (step - 1) - v > TARGET_LAG = 1
// (orchestrator.py, update_dispatch_gate); what began before (step - 1) - max_off_policy_steps is voided in the queue
// before a batch is made (train_sink.py, _drop_stale) and cancelled where it runs before weights go out
// (dispatcher.py); a batch is the first to have arrived (process_batch). step - 1 is our s.
TEST_CASE("prime_rl: one step of lead, the order of completion, nothing older than the bound shipped or left running "
          "at a publication") {
  const auto narrow = [](config& set) { set.stale.max = 1; }; // so that something is dropped
  std::uint64_t dropped = 0;
  follow(
      "prime_rl", 4,
      [&](const seen& now, const action* one) {
        if (as<admit>(one))
          REQUIRE(static_cast<double>(now.live.size())
                  < 2.0 * now.size + (now.step + (now.training ? 1 : 0) - now.v()) * now.size);
        if (const auto* made = as<cut>(one)) {
          REQUIRE(made->groups == first(now.ready, now.size));
          for (const auto id : made->groups)
            REQUIRE(now.live.at(id).start + 1 >= now.step);
        }
        if (as<publish>(one))
          for (const auto& [id, group] : now.live)
            REQUIRE((!group.running || group.start + 1 >= now.step));
        if (const auto* gone = as<drop>(one); gone && gone->reason == drop_reason::stale) {
          REQUIRE(now.live.at(gone->group).start + 1 < now.step);
          ++dropped;
        }
      },
      narrow);
  CHECK(dropped > 20);
}

// NVIDIA-NeMo/RL, nemo_rl/algorithms/async_utils/staleness_sampler.py, InOrderSampler: a dispatched batch is stamped
// with its index and blocked while the index is above the trainer's version + W; a step takes the batch with its own
// number.
TEST_CASE("nemo_in_order: every group is for one step, at most one ahead") {
  follow("nemo_in_order", 5, [](const seen& now, const action* one) {
    if (const auto* started = as<admit>(one))
      REQUIRE(started->group / now.size <= now.v() + 1);
    if (const auto* made = as<cut>(one))
      for (std::uint64_t i = 0; i < now.size; ++i)
        REQUIRE(made->groups[i] == now.step * now.size + i);
  });
}

// The same file, WeightFifoSampler: only groups of the oldest start version there is, running ones too, may be taken;
// newer ones once none of it is left.
TEST_CASE("nemo_weight_fifo: the oldest weights first, at most one step ahead") {
  follow("nemo_weight_fifo", 6, [](const seen& now, const action* one) {
    if (as<admit>(one))
      REQUIRE(now.admitted < (now.v() + 2) * now.size);
    if (const auto* made = as<cut>(one)) {
      REQUIRE(made->groups == oldest(now, now.size));
      version_id newest = 0;
      for (const auto id : made->groups)
        newest = std::max(newest, now.live.at(id).start);
      for (const auto& [id, group] : now.live)
        if (!std::binary_search(made->groups.begin(), made->groups.end(), id))
          REQUIRE(group.start >= newest);
    }
  });
}

// The same file, WindowedSampler with sample_freshest_first: no gate; start version in [v - W, v], the freshest first,
// then the first dispatched; in flight past the window: aborted.
TEST_CASE("nemo_windowed: never waits to start, trains the freshest within the window, aborts what left it") {
  std::uint64_t dropped = 0;
  follow("nemo_windowed", 7, [&](const seen& now, const action* one) {
    if (const auto* made = as<cut>(one)) {
      auto all = now.ready;
      std::sort(all.begin(), all.end(), [&](group_id a, group_id b) {
        return std::pair{-std::int64_t{now.live.at(a).start}, a} < std::pair{-std::int64_t{now.live.at(b).start}, b};
      });
      REQUIRE(made->groups == first(all, now.size));
      for (const auto id : made->groups)
        REQUIRE(now.live.at(id).start + 1 >= now.step);
    }
    if (const auto* gone = as<drop>(one))
      dropped += gone->reason == drop_reason::stale;
  });
  CHECK(dropped > 20);
}

// The same file, ReadyFirstSampler: the gate of the others; any ready group, in the order of the buffer, where a group
// stands from the moment it is dispatched (replay_buffer.py, reserve). Groups of one version: among ours the older
// version goes first.
TEST_CASE("nemo_ready_first: whatever is ready, what was started first before others, one step of lead") {
  follow("nemo_ready_first", 8, [](const seen& now, const action* one) {
    if (const auto* started = as<admit>(one); started && is_new(now, *started))
      REQUIRE(now.admitted < (now.v() + 2) * now.size);
    if (const auto* made = as<cut>(one))
      REQUIRE(made->groups == oldest(now, now.size));
    if (!one && !now.training)
      REQUIRE(now.ready.size() < now.size);
  });
}

// verl-project/verl, verl/trainer/ppo/v1/replay_buffer.py, _stale_terminal_keys, strategy drop: a finished group whose
// span, the trainer's step - its own + 1 with steps from 1, is above the threshold is evicted, and as many are
// refilled; the oldest step is taken first (_select_prompt_uids). One warm-up batch is the lead.
TEST_CASE("verl_v1: span at most the threshold, one batch of lead, whatever is evicted is refilled") {
  const std::uint32_t threshold = 2;
  const auto narrow = [&](config& set) { set.stale.max = threshold - 1; };
  std::uint64_t evicted = 0;
  follow(
      "verl_v1", 9,
      [&](const seen& now, const action* one) {
        const auto span = [&](group_id id) { return (now.step + 1) - now.live.at(id).start + 1 - 1; };
        if (const auto* made = as<cut>(one))
          for (const auto id : made->groups)
            REQUIRE(span(id) <= threshold);
        if (const auto* gone = as<drop>(one); gone && gone->reason == drop_reason::stale) {
          REQUIRE(span(gone->group) > threshold);
          ++evicted;
        }
        if (const auto* started = as<admit>(one); started && is_new(now, *started))
          REQUIRE(now.admitted - now.given_up < (now.v() + 2) * now.size);
      },
      narrow);
  CHECK(evicted > 10);
}

// alibaba/ROLL, roll/distributed/scheduler/generate_scheduler.py: running + completed stays below ceil(alpha B) + B for
// each step begun (advance_step, _check_send_new_request), extra prompts on top up to a cap; after step s what began at
// s - ceil(alpha) or before is aborted (gc), so that step s + 1 takes nothing older than ceil(alpha).
TEST_CASE("roll: alpha steps of lead and extra prompts, nothing started more than alpha steps ago is trained") {
  follow("roll", 10, [](const seen& now, const action* one) {
    if (const auto* started = as<admit>(one); started && is_new(now, *started))
      REQUIRE(static_cast<double>(now.admitted - now.given_up)
              < std::ceil((now.v() + 2) * static_cast<double>(now.size) + 0.25 * 2 * static_cast<double>(now.size)));
    if (const auto* made = as<cut>(one))
      for (const auto id : made->groups)
        REQUIRE(now.live.at(id).start + 1 >= now.step);
  });
}

// eta P0 prompts of eta R0 answers are launched, the first P0 with R0 answers are trained; the others go to a queue and
// run, P0 of them with R0 answers, in a round of their own. Everything is on-policy.
TEST_CASE("roll_packer: rounds of more prompts and answers than needed, their losers in long rounds, all on-policy") {
  CHECK(answers_started(preset("roll_packer"), 8) == 10);
  std::set<group_id> losers;
  std::uint64_t long_rounds = 0;
  follow("roll_packer", 11, [&](const seen& now, const action* one) {
    if (const auto* started = as<admit>(one)) {
      if (now.admitted == 0)
        losers.clear();
      REQUIRE(started->born == now.step);
      REQUIRE(started->oversampled == !losers.contains(started->group));
      REQUIRE(static_cast<double>(now.running() + now.ready.size()) < 1.25 * static_cast<double>(now.size) + 1);
    }
    if (const auto* stopped = as<cancel>(one))
      losers.insert(stopped->group);
    if (const auto* made = as<cut>(one)) {
      REQUIRE(made->groups == first(now.ready, now.size));
      const auto lost =
          std::count_if(made->groups.begin(), made->groups.end(), [&](group_id id) { return losers.contains(id); });
      REQUIRE((lost == 0 || lost == static_cast<std::int64_t>(now.size)));
      long_rounds += lost > 0;
      for (const auto id : made->groups) {
        REQUIRE(now.live.at(id).start == now.step);
        losers.erase(id);
      }
    }
  });
  CHECK(long_rounds > 20);
}

// Over-provision, stop at N, recycle: what is left over is the first to go on in the next round, with what it has.
TEST_CASE("april: a round stops at its batch, and what is left over goes on first in the next") {
  std::uint64_t recycled = 0;
  follow("april", 12, [&](const seen& now, const action* one) {
    if (const auto* started = as<admit>(one)) {
      REQUIRE_FALSE(now.training);
      recycled += started->resume;
      // No new prompt before every one that was handed over.
      if (is_new(now, *started))
        for (const auto& [id, group] : now.live)
          REQUIRE((group.running || group.finished));
    }
    if (as<cut>(one))
      REQUIRE(now.running() == 0);
  });
  CHECK(recycled > 20);
}

// Each rollout pulls when its own answers have ended; nobody waits for another.
TEST_CASE("laminar and impala: weights are taken by a rollout that has nothing to decode, and by nobody else") {
  for (const auto* name : {"laminar", "impala"})
    follow(name, 13, [](const seen& now, const action* one) {
      if (const auto* sent = as<publish>(one)) {
        REQUIRE(sent->workers.size() >= 1);
        for (const auto id : sent->workers)
          REQUIRE(now.running_on(id) == 0);
      }
    });
}

// #1204 and mode 2 of fully_async: an update as soon as its share is ready, every group by the weights of its step.
TEST_CASE("streaming: a step is several updates, each as soon as its share is ready, and stays on-policy") {
  follow("streaming", 14, [](const seen& now, const action* one) {
    if (const auto* made = as<cut>(one)) {
      const auto share =
          (made->part + 1) * now.size / now.set.clock.minibatches - made->part * now.size / now.set.clock.minibatches;
      REQUIRE(made->groups == first(now.ready, share));
      for (const auto id : made->groups)
        REQUIRE(now.live.at(id).start == now.step);
    }
  });
}

TEST_CASE("stream_rl: one step of lead, and nothing older than one") {
  follow("stream_rl", 15, [](const seen& now, const action* one) {
    if (as<admit>(one))
      REQUIRE(now.admitted < (now.v() + 2) * now.size);
    if (const auto* made = as<cut>(one))
      for (const auto id : made->groups)
        REQUIRE(now.live.at(id).start + 1 >= now.step);
  });
}

TEST_CASE("kimi_researcher: answers with a token more than two steps old keep their reward and train nothing") {
  follow("kimi_researcher", 16, [](const seen& now, const action* one) {
    if (const auto* made = as<cut>(one)) {
      REQUIRE(made->mask == age_mask::answers);
      REQUIRE(made->train_from == (now.step > 2 ? now.step - 2 : 0));
      REQUIRE(made->groups == first(now.ready, now.size));
    }
  });
}

} // namespace preset_formula_test
