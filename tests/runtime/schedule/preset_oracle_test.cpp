#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/virtual_time.hpp"
#include "tests/runtime/schedule/action_text.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace preset_oracle_test {

using namespace millrace;
using namespace millrace::schedule;

/// Each preset against an oracle written from its formula alone, over the trace of runs with random costs. An oracle
/// keeps plain lists, recounts them after every event and says what has to have happened.
namespace {

struct traced_group {
  worker_id worker = 0;
  version_id born = 0;
  bool generating = true;
  bool ready = false;
};

/// What any reader of the trace can know.
struct trace {
  config set;
  std::uint32_t places = 0;
  std::map<worker_id, version_id> runs; ///< workers that are there
  std::map<worker_id, version_id> sent;
  std::map<group_id, traced_group> live;
  std::vector<std::vector<group_id>> batches;
  std::uint32_t trained = 0;
  bool training = false;
  group_id next = 0;

  void event(const event& what) {
    if (const auto* joined = std::get_if<worker_joined>(&what))
      runs[joined->worker] = joined->holds.value_or(0);
    if (const auto* flipped = std::get_if<version_acknowledged>(&what))
      runs[flipped->worker] = flipped->version;
    if (const auto* ended = std::get_if<group_finished>(&what))
      live.at(ended->group).generating = false;
    if (const auto* scored = std::get_if<group_ready>(&what))
      live.at(scored->group).ready = true;
    if (std::holds_alternative<batch_trained>(what)) {
      for (const auto id : batches.back())
        live.erase(id);
      ++trained;
      training = false;
    }
  }

  /// The batch that has to be cut, if `due` says that there is one, and everything started.
  template <class Due>
  void actions(const std::vector<action>& all, Due due) {
    const auto want = training || trained == set.steps ? std::nullopt : due(*this);
    std::optional<std::vector<group_id>> got;
    for (const auto& one : all)
      if (const auto* batch = std::get_if<cut>(&one)) {
        REQUIRE(batch->step == trained);
        got = batch->groups;
      }
    REQUIRE(got == want);
    if (got) {
      training = true;
      batches.push_back(*got);
    }
    for (const auto& one : all) {
      if (const auto* sending = std::get_if<publish>(&one))
        for (const auto id : sending->workers)
          sent[id] = sending->version;
      if (const auto* started = std::get_if<admit>(&one)) {
        REQUIRE(started->group == next++);
        live[started->group] = {started->worker, started->born, true, false};
      }
    }
  }

  std::uint64_t committed() const { return live.size() + std::uint64_t{trained} * set.groups_per_step; }

  version_id slowest() const {
    version_id result = trained;
    for (const auto& [id, version] : runs)
      result = std::min(result, version);
    return result;
  }

  /// A worker that could take a group now; `draining` ones cannot.
  bool place_free(bool draining_too) const {
    for (const auto& [id, version] : runs) {
      const auto busy = std::count_if(
          live.begin(), live.end(), [&](const auto& one) { return one.second.generating && one.second.worker == id; });
      const bool flips = sent.contains(id) && sent.at(id) > version;
      if (busy < places && (draining_too || !flips))
        return true;
    }
    return false;
  }
};

workload random_costs(std::mt19937_64& random) {
  const auto up_to = [&](int high) { return static_cast<double>(random() % 1000) / 1000 * high; };
  workload costs;
  costs.workers = 1 + random() % 3;
  costs.groups_per_worker = 1 + random() % 6;
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

config random_settings(std::mt19937_64& random, const char* name) {
  auto set = preset(name);
  set.groups_per_step = 1 + random() % 6;
  set.steps = 12;
  return set;
}

template <class Due, class After>
trace follow(const config& set, const workload& costs, Due due, After after) {
  trace seen;
  seen.set = set;
  seen.places = costs.groups_per_worker;
  simulate(set, costs, [&](const event& what, const std::vector<action>& actions, const scheduler& it, double) {
    seen.event(what);
    seen.actions(actions, due);
    after(seen, actions, it);
  });
  return seen;
}

} // namespace

// S-7; verl #6780 and SkyRL #579: staleness 0 has to be the synchronous trainer.
TEST_CASE("synchronous is a loop: B groups in order, by the weights of their step, then the step") {
  std::mt19937_64 random(1);
  for (int round = 0; round < 60; ++round) {
    const auto set = random_settings(random, "synchronous");
    const group_id size = set.groups_per_step;
    const auto seen = follow(
        set, random_costs(random),
        [&](const trace& now) -> std::optional<std::vector<group_id>> {
          std::vector<group_id> batch;
          for (group_id id = now.trained * size; id < (now.trained + 1) * size; ++id) {
            if (!now.live.contains(id) || !now.live.at(id).ready)
              return std::nullopt;
            batch.push_back(id);
          }
          return batch;
        },
        [&](const trace& now, const std::vector<action>&, const scheduler&) {
          for (const auto& [id, one] : now.live)
            REQUIRE(one.born == id / size);
          if (now.slowest() == now.trained && now.place_free(false) && now.trained < set.steps)
            REQUIRE(now.next == (now.trained + 1) * size);
        });
    CHECK(seen.batches.size() == set.steps);
  }
}

TEST_CASE(
    "synchronous trains the same groups by the same versions whatever the workers, their timing and their deaths") {
  auto set = preset("synchronous");
  set.groups_per_step = 5;
  set.steps = 20;
  std::set<std::string> histories;
  std::set<std::int64_t> tokens;
  std::uint32_t deaths = 0;
  std::mt19937_64 random(2);
  for (int round = 0; round < 40; ++round) {
    auto costs = random_costs(random);
    costs.seed = 11;
    costs.answers_per_group = 2;
    costs.mean_tokens = 100;
    costs.length_cv = 1;
    costs.worker_life_s = round % 2 ? 60 : 0;
    std::string history;
    const auto result =
        simulate(set, costs, [&](const event&, const std::vector<action>& actions, const scheduler&, double) {
          for (const auto& one : actions)
            if (std::holds_alternative<cut>(one))
              history += words({one}) + "\n";
        });
    deaths += result.workers_lost;
    if (result.books.dropped == std::array<ledger::account, drop_reasons>{}) {
      histories.insert(history);
      tokens.insert(result.books.trained.tokens);
      CHECK(result.stale.max() == 0);
    }
  }
  CHECK(histories.size() == 1);
  CHECK(tokens.size() == 1);
  CHECK(deaths > 20);
}

// verl one_step_off, slime train_async: the next batch is generated while one is trained.
TEST_CASE("one_step_off stamps every group with the step it is for, one ahead of the weights") {
  std::mt19937_64 random(3);
  for (int round = 0; round < 60; ++round) {
    const auto set = random_settings(random, "one_step_off");
    const group_id size = set.groups_per_step;
    const auto seen = follow(
        set, random_costs(random),
        [&](const trace& now) -> std::optional<std::vector<group_id>> {
          std::vector<group_id> batch;
          for (group_id id = now.trained * size; id < (now.trained + 1) * size; ++id) {
            if (!now.live.contains(id) || !now.live.at(id).ready)
              return std::nullopt;
            batch.push_back(id);
          }
          return batch;
        },
        [&](const trace& now, const std::vector<action>& actions, const scheduler&) {
          for (const auto& one : actions)
            if (const auto* started = std::get_if<admit>(&one)) {
              const auto target = started->group / size;
              REQUIRE(target <= now.slowest() + 1);
              REQUIRE(started->born <= target);
              REQUIRE(target - started->born <= 1);
            }
          if (now.place_free(false))
            REQUIRE(now.next >= std::min<group_id>((now.slowest() + 2) * size, set.steps * size));
        });
    CHECK(seen.batches.size() == set.steps);
  }
}

// section 6.2 of the schedule language: admission by credits, earliest deadline first.
TEST_CASE("bounded cuts exactly when counting every deadline allows it, and starts whatever the gate allows") {
  std::mt19937_64 random(4);
  for (int round = 0; round < 120; ++round) {
    auto set = random_settings(random, "bounded");
    set.gate.depth = static_cast<double>(random() % 7) / 2;
    set.stale.max = static_cast<std::uint32_t>(set.gate.depth + 0.5) + random() % 3;
    const auto size = set.groups_per_step;
    const auto seen = follow(
        set, random_costs(random),
        [&](const trace& now) -> std::optional<std::vector<group_id>> {
          std::vector<std::pair<version_id, group_id>> ready;
          for (const auto& [id, one] : now.live)
            if (one.ready)
              ready.emplace_back(one.born, id);
          std::sort(ready.begin(), ready.end());
          if (ready.size() < size)
            return std::nullopt;
          std::set<group_id> batch;
          for (std::size_t i = 0; i < size; ++i)
            batch.insert(ready[i].second);
          for (auto k = now.trained; k <= now.trained + set.stale.max; ++k) {
            std::size_t left = 0;
            for (const auto& [id, one] : now.live)
              left += !batch.contains(id) && one.born + set.stale.max <= k;
            if (left > std::size_t{size} * (k - now.trained))
              return std::nullopt;
          }
          return std::vector<group_id>(batch.begin(), batch.end());
        },
        [&](const trace& now, const std::vector<action>& actions, const scheduler& it) {
          const auto limit = std::min((now.slowest() + 1 + set.gate.depth) * size, 1.0 * set.steps * size);
          for (const auto& one : actions) {
            if (const auto* batch = std::get_if<cut>(&one))
              for (const auto id : batch->groups)
                REQUIRE(batch->step - now.live.at(id).born <= set.stale.max);
            if (std::holds_alternative<admit>(one))
              REQUIRE(static_cast<double>(now.committed()) < limit + 1);
          }
          if (now.place_free(true) && !it.finished())
            REQUIRE(static_cast<double>(now.committed()) >= limit);
        });
    CHECK(seen.batches.size() == set.steps);
  }
}

} // namespace preset_oracle_test
