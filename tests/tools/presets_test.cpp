#include "runtime/run_files/step_lines.hpp"
#include "runtime/schedule/presets.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <set>

namespace presets_test {

/// Every preset, run for real: the tiny model, the rollout in a process of its own. What holds of all of them is
/// checked of each run; what a preset is there for is checked in its row of the table, out of the files that the run
/// left.
namespace {

using namespace millrace;
using namespace millrace::tests;
using json = nlohmann::ordered_json;

/// What one run left behind.
struct preset_run {
  run_on_disk files;
  schedule::config schedule; ///< of the preset, with the bound that the row sets
  std::vector<json> steps;   ///< rows of metrics.jsonl
  std::vector<json> updates; ///< lines of replay.jsonl: an optimizer update's groups, the versions that sampled them
  json ledger;               ///< of status.json

  double most(const char* figure) const {
    double most = 0;
    for (const auto& row : steps)
      most = std::max(most, row.at(figure).get<double>());
    return most;
  }

  std::int64_t dropped(const char* reason) const { return ledger.at("dropped").value(reason, std::int64_t{0}); }

  /// Groups of all updates in the order of training.
  std::vector<std::uint64_t> trained() const {
    std::vector<std::uint64_t> groups;
    for (const auto& update : updates)
      for (const auto& group : update.at("groups"))
        groups.push_back(group.at("group"));
    return groups;
  }

  /// Updates that began while groups were being generated, as the trace has it.
  int trained_beside_generation() const {
    std::vector<std::pair<double, double>> generating; // since when, how many
    std::vector<double> training;
    for (const auto& event : json::parse(read_file(files.folder() / "trace.json"))) {
      if (event.at("name") == "groups generating")
        generating.emplace_back(event.at("ts").get<double>(), event.at("args").at("generating").get<double>());
      else if (event.at("name").get<std::string>().starts_with("train step"))
        training.push_back(event.at("ts"));
    }
    std::stable_sort(generating.begin(), generating.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    int count = 0;
    for (const double at : training) {
      const auto after =
          std::find_if(generating.begin(), generating.end(), [&](const auto& change) { return change.first > at; });
      count += after != generating.begin() && std::prev(after)->second > 0;
    }
    return count;
  }

  /// Answers with tokens of more than one version.
  int answers_of_several_versions() const {
    int count = 0;
    for (const auto& update : updates)
      for (const auto& group : update.at("groups"))
        for (const auto& answer : group.at("answers"))
          for (std::size_t run = 2; run < answer.size(); run += 2) // pairs of version and tokens
            if (answer.at(run) != answer.at(run - 2)) {
              ++count;
              break;
            }
    return count;
  }

  /// Answers that were handed over and went on, or whose keys and values were computed anew at a flip.
  int answers_computed_anew() const {
    int count = 0;
    for (const auto& update : updates)
      for (const auto& group : update.at("groups"))
        for (const auto& runs : group.value("recomputed", json::array()))
          count += !runs.empty();
    return count;
  }
};

struct preset_row {
  const char* name;
  tiny_pipeline pipeline = {};
  std::vector<const char*> sets = {};
  std::function<void(const preset_run&)> particular = {};
  /// What must be seen, though timing decides whether it happens: another seed is tried until it did. Such a run is
  /// made again: every token and log-probability is what the weights of its stamp give, bit for bit.
  std::function<bool(const preset_run&)> happens = {};
  const char* title = ""; ///< of a second row of a preset
};

/// Long answers, most groups of which are passed over for their rewards: weights come while some are sampled.
std::vector<const char*> busy(std::vector<const char*> sets = {}) {
  sets.insert(sets.end(), {"roles.rules.rules=[{type=\"length\", max=16}]", "schedule.drop_zero_variance=true",
                           "schedule.extra_groups_per_step=200"});
  return sets;
}

tiny_pipeline long_answers() {
  return {.steps = 5, .max_new_tokens = 200};
}

// -- what a preset is there for
// ------------------------------------------------------------------------------------------

/// Every token of step s was sampled by version s: no lead, nothing stale.
void is_on_policy(const preset_run& run) {
  CHECK(run.most("staleness/max") == 0);
}

/// Every step is generated while the one before is trained, so its tokens are one version old: but for those of a
/// rollout that the machine lets sample only when that training is over.
void is_one_behind(const preset_run& run) {
  std::size_t one_old = 0;
  for (const auto& row : run.steps) {
    CAPTURE(row.at("step"));
    CHECK(row.at("staleness/max") <= 1);
    one_old += row.at("staleness/mean") == 1 ? 1 : 0;
  }
  CHECK(one_old > 0);
}

/// Groups are trained in the order of their prompts.
void is_in_order(const preset_run& run) {
  const auto groups = run.trained();
  CHECK(std::is_sorted(groups.begin(), groups.end()));
}

/// Weights came while answers were sampled, and what those had stayed.
bool flips_midway(const preset_run& run) {
  CHECK(run.answers_computed_anew() == 0);
  return run.answers_of_several_versions() > 0;
}

/// Answers were handed over and went on under other weights.
bool goes_on(const preset_run& run) {
  CHECK(run.answers_computed_anew() >= run.answers_of_several_versions());
  return run.answers_of_several_versions() > 0;
}

/// The last groups of a worker went on in another one, under the weights that they began with.
bool moves_together(const preset_run& run) {
  CHECK(run.answers_of_several_versions() == 0);
  return run.answers_computed_anew() > 0;
}

/// No group is trained more than `versions` after the one that sampled its first tokens.
std::function<void(const preset_run&)> is_at_most(std::int64_t versions) {
  return [versions](const preset_run& run) {
    for (const auto& update : run.updates)
      for (const auto& group : update.at("groups"))
        for (const auto& answer : group.at("answers"))
          CHECK(update.at("version").get<std::int64_t>() - answer.at(0).get<std::int64_t>() <= versions);
  };
}

void drops_nothing_for_its_age(const preset_run& run) {
  CHECK(run.dropped("stale") == 0);
}

bool drops_what_is_too_old(const preset_run& run) {
  return run.dropped("stale") > 0;
}

/// A step of groups that the rounds before had passed over, one of each.
void has_a_long_round(const preset_run& run) {
  std::uint64_t newest = 0;
  int most = 0;
  for (const auto& update : run.updates) {
    int passed_over = 0;
    for (const auto& group : update.at("groups"))
      passed_over += group.at("group") < newest;
    most = std::max(most, passed_over);
    for (const auto& group : update.at("groups"))
      newest = std::max(newest, group.at("group").get<std::uint64_t>());
  }
  CHECK(most >= groups_per_step - 1); // that of the last round may be its last prompt
}

/// Four updates a step of a group each.
void trains_parts(const preset_run& run) {
  for (const auto& row : run.steps)
    CHECK(row.at("updates") == 4);
  CHECK(run.updates.size() == 4 * run.steps.size());
  for (std::size_t i = 0; i < run.updates.size(); ++i) {
    CHECK(run.updates[i].at("part") == i % 4);
    CHECK(run.updates[i].at("ends_step") == (i % 4 == 3));
    CHECK(run.updates[i].at("version") == i / 4);
    CHECK(run.updates[i].at("groups").size() == 1);
  }
}

bool trains_beside_generation(const preset_run& run) {
  return run.trained_beside_generation() > 0;
}

/// What is older than the bound is told to the learner, has no part in the loss and is counted.
void masks(const preset_run& run) {
  for (const auto& update : run.updates)
    if (const std::int64_t version = update.at("version"); version > 1)
      CHECK(update.at("train_from") == version - 1);
  double masked = 0;
  for (const auto& row : run.steps)
    masked += row.value("tokens/masked", 0.0);
  CHECK(masked == run.dropped("masked"));
}

bool has_masked(const preset_run& run) {
  return run.dropped("masked") > 0;
}

const std::vector<preset_row>& table() {
  static const std::vector<preset_row> rows{
      {"synchronous", {}, {}, [](const preset_run& run) { is_on_policy(run), is_in_order(run); }},
      {"streaming",
       {},
       {"roles.rollout.slots=4"},
       [](const preset_run& run) { is_on_policy(run), trains_parts(run); },
       trains_beside_generation},
      {"pipeline_rl", {}, {"roles.rollout.slots=4"}, trains_parts, trains_beside_generation},
      {"verl_v1", {}, {"roles.rollout.slots=4"}, trains_parts, trains_beside_generation},
      {"stream_rl", {}, {"roles.rollout.slots=4"}, trains_parts, trains_beside_generation},
      {"one_step_off", {}, {}, [](const preset_run& run) { is_one_behind(run), is_in_order(run); }},
      {"bounded", {}, {}, [](const preset_run& run) { CHECK(run.most("staleness/max") >= 1); }},
      {"bounded",
       long_answers(),
       busy({"schedule.interrupt.kv=recompute"}),
       {},
       goes_on,
       "bounded, keys and values computed anew"},
      {"areal", long_answers(), busy({"placement.rollout.processes=2"}), {}, goes_on},
      {"skyrl", long_answers(), busy(), {}, flips_midway},
      {"prime_rl", long_answers(), busy(), is_at_most(8), flips_midway},
      {"prime_rl",
       {},
       {"schedule.stale.max=1", "schedule.gate.depth=3"},
       is_at_most(1),
       drops_what_is_too_old,
       "prime_rl, what is too old dropped"},
      {"nemo_in_order", {}, {}, is_in_order},
      {"nemo_weight_fifo", long_answers(), busy(), is_at_most(1), flips_midway},
      {"nemo_windowed", {}, {}, {}, drops_what_is_too_old},
      {"nemo_ready_first", long_answers(), busy(), drops_nothing_for_its_age, flips_midway},
      {"verl_v1", long_answers(), busy({"schedule.clock.minibatches=1"}), {}, goes_on, "verl_v1, whole steps"},
      {"kimi_researcher", long_answers(), busy(), {}, goes_on},
      {"roll", {}, {"schedule.gate.depth=3"}, {}, drops_what_is_too_old},
      {"laminar", long_answers(), busy({"placement.rollout.processes=2"}), {}, moves_together},
      {"roll_packer",
       {.steps = 8, .max_new_tokens = 48},
       {},
       [](const preset_run& run) { is_on_policy(run), has_a_long_round(run); }},
      {"april", long_answers(), {"roles.rules.rules=[{type=\"length\", max=60}]"}, {}, goes_on},
      {"april",
       {},
       {"roles.rollout.slots=24", "schedule.tail.surplus=discard"},
       [](const preset_run& run) { CHECK(run.dropped("surplus") > 0); },
       {},
       "april, what is left over dropped"},
      {"impala", {}, {}, [](const preset_run& run) { CHECK(run.dropped("masked") == 0); }}, // nothing is 1000 steps old
      {"impala", {.steps = 10}, {"schedule.stale.max=1"}, masks, has_masked, "impala, tokens masked"},
      {"impala",
       {.steps = 10},
       {"schedule.stale.max=1", "schedule.stale.action=withhold"},
       masks,
       has_masked,
       "impala, answers masked"},
  };
  return rows;
}

// -- what holds of every run
// ---------------------------------------------------------------------------------------------

preset_run read_run(const run_on_disk& files, const preset_row& row) {
  preset_run run{files, schedule::preset(row.name), files.metrics(), {}, files.status().at("ledger")};
  constexpr std::string_view bound = "schedule.stale.max=";
  for (const std::string_view set : row.sets)
    if (set.starts_with(bound))
      run.schedule.stale.max = static_cast<double>(std::stoul(std::string(set.substr(bound.size()))));
  for (const auto& line : run_files::read_step_lines(files.folder() / "replay.jsonl"))
    run.updates.push_back(json::parse(line));
  return run;
}

void check_ledger(const preset_run& run) {
  std::int64_t dropped = 0;
  for (const auto& [reason, tokens] : run.ledger.at("dropped").items())
    dropped += tokens.get<std::int64_t>();
  CHECK(run.ledger.at("live") == 0);
  CHECK(run.ledger.at("generated") == run.ledger.at("trained").get<std::int64_t>() + dropped);
}

void check_bound(const preset_run& run) {
  if (run.schedule.stale.bounded() && run.schedule.stale.measure == schedule::stale_measure::head)
    CHECK(run.most("staleness/max") <= run.schedule.stale.max);
}

void check_each_group_once(const preset_run& run) {
  const auto groups = run.trained();
  CHECK(groups.size() == run.steps.size() * groups_per_step);
  CHECK(std::set(groups.begin(), groups.end()).size() == groups.size());
}

void check_run(const preset_run& run, const preset_row& row, int steps) {
  CHECK(run.files.status().at("state") == "finished");
  CHECK(run.steps.size() == static_cast<std::size_t>(steps));
  check_ledger(run);
  check_bound(run);
  check_each_group_once(run);
  if (row.particular)
    row.particular(run);
}

void try_preset(const preset_row& row) {
  auto pipeline = row.pipeline;
  pipeline.preset = row.name;
  strings sets{"--set", "placement.rollout.processes=1"};
  for (const char* set : row.sets)
    sets.insert(sets.end(), {"--set", set});
  for (int seed = 7;; ++seed) {
    auto command = sets;
    command.insert(command.end(), {"--set", "run.seed=" + std::to_string(seed)});
    const tiny_run tiny(pipeline);
    const auto done = run_to_end(tiny.start(command), 90);
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    const auto run = read_run(tiny.files(), row);
    check_run(run, row, pipeline.steps);
    if (!row.happens)
      return;
    const bool happened = row.happens(run);
    if (!happened && seed < 7 + 11)
      continue;
    CHECK(happened);
    const auto again = run_to_end(command_line({"replay", tiny.files().folder().string()}), 90);
    CAPTURE(again.err);
    CHECK(again.status == 0);
    return;
  }
}

} // namespace

TEST_CASE("every preset runs: it finishes, its ledger closes, its bound holds, and it is what it is there for") {
  for (const auto& row : table())
    SUBCASE(*row.title ? row.title : row.name) {
      CAPTURE(std::string(row.name));
      try_preset(row);
    }
}

TEST_CASE("keys that no preset sets reach a run") {
  const auto run_with = [](const char* name, const std::vector<const char*>& keys,
                           const std::function<void(const preset_run&)>& check) {
    CAPTURE(name);
    tiny_pipeline pipeline;
    pipeline.preset = name;
    strings sets{"--set", "placement.rollout.processes=1"};
    for (const char* key : keys)
      sets.insert(sets.end(), {"--set", key});
    const tiny_run tiny(pipeline);
    const auto done = run_to_end(tiny.start(sets));
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    const auto run = read_run(tiny.files(), {name});
    check_ledger(run);
    check(run);
  };
  // Each group has a token: one is enough for a step.
  run_with("skyrl", {"schedule.select.tokens_per_step=1"},
           [](const preset_run& run) { CHECK(run.trained().size() == run.steps.size()); });
  run_with("areal",
           {"schedule.gate.depth=1", "schedule.gate.burst=0.5", "schedule.select.on_policy_min=0.5",
            "schedule.place.mode=lend", "schedule.place.reclaim_at=0.5", "schedule.faults.call_deadline_s=60"},
           [](const preset_run& run) { check_each_group_once(run); });
}

} // namespace presets_test
