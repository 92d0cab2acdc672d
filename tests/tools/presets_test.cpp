#include "tests/tools/tiny_run.hpp"

#include "runtime/schedule/presets.hpp"
#include "runtime/telemetry/step_lines.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <set>

/// Every preset, run for real: the tiny model, the rollout in a process of its own. What holds of all of them is checked of
/// each run; what a preset is there for is checked in its row of the table, out of the files that the run left.
namespace {

using namespace millrace;
using namespace millrace::tests;
using json = nlohmann::ordered_json;

/// What one run left behind.
struct preset_run {
  run_files files;
  schedule::config schedule;  ///< of the preset, with the bound that the row sets
  std::vector<json> steps;    ///< rows of metrics.jsonl
  std::vector<json> updates;  ///< lines of replay.jsonl: an optimizer update's groups, the versions that sampled them
  json ledger;                ///< of status.json

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
    std::stable_sort(generating.begin(), generating.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    int count = 0;
    for (const double at : training) {
      const auto after = std::find_if(generating.begin(), generating.end(), [&](const auto& change) { return change.first > at; });
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
          count += answer.size() > 2; // pairs of version and tokens
    return count;
  }
};

struct preset_row {
  const char* name;
  tiny_pipeline pipeline = {};
  std::vector<const char*> sets = {};
  std::function<void(const preset_run&)> particular = [](const preset_run&) {};
};

// -- what a preset is there for ------------------------------------------------------------------------------------------

/// Every token of step s was sampled by version s: no lead, nothing stale.
void is_on_policy(const preset_run& run) { CHECK(run.most("staleness/max") == 0); }

/// From the second step on every token is exactly one version old.
void is_one_behind(const preset_run& run) {
  for (const auto& row : run.steps)
    if (row.at("step") > 1) {
      CHECK(row.at("staleness/mean") == 1);
      CHECK(row.at("staleness/max") == 1);
    }
}

/// Groups are trained in the order of their prompts.
void is_in_order(const preset_run& run) {
  const auto groups = run.trained();
  CHECK(std::is_sorted(groups.begin(), groups.end()));
}

/// Four updates a step of a group each, some of them while other groups are still generated.
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
  CHECK(run.trained_beside_generation() > 0);
}

/// What is older than the bound is told to the learner, has no part in the loss and is counted.
void masks(const preset_run& run) {
  CHECK(run.dropped("masked") > 0);
  for (const auto& update : run.updates)
    if (const std::int64_t version = update.at("version"); version > 1)
      CHECK(update.at("train_from") == version - 1);
  double masked = 0;
  for (const auto& row : run.steps)
    masked += row.value("tokens/masked", 0.0);
  CHECK(masked == run.dropped("masked"));
}

const std::vector<preset_row>& table() {
  static const std::vector<preset_row> rows{
      {"synchronous", {}, {}, [](const preset_run& run) { is_on_policy(run), is_in_order(run); }},
      {"streaming", {}, {"roles.rollout.slots=4"}, [](const preset_run& run) { is_on_policy(run), trains_parts(run); }},
      {"pipeline_rl", {}, {"roles.rollout.slots=4"}, trains_parts},
      {"verl_v1", {}, {"roles.rollout.slots=4"}, trains_parts},
      {"stream_rl", {}, {"roles.rollout.slots=4"}, trains_parts},
      {"kimi_researcher"},
      {"one_step_off", {}, {}, [](const preset_run& run) { is_one_behind(run), is_in_order(run); }},
      {"bounded", {}, {}, [](const preset_run& run) { CHECK(run.most("staleness/max") >= 1); }},
      {"areal"},
      {"skyrl"},
      {"prime_rl"},
      {"nemo_in_order", {}, {}, is_in_order},
      {"nemo_weight_fifo"},
      {"nemo_windowed"},
      {"nemo_ready_first"},
      {"roll"},
      {"laminar"},
      {"roll_packer", {}, {}, is_on_policy},
      {"april"},
      {"impala", {}, {}, [](const preset_run& run) { CHECK(run.dropped("masked") == 0); }}, // nothing is 1000 steps old
      {"impala", {.steps = 10}, {"schedule.stale.max=1"}, masks},
      {"impala", {.steps = 10}, {"schedule.stale.max=1", "schedule.stale.action=withhold"}, masks},
  };
  return rows;
}

// -- what holds of every run ---------------------------------------------------------------------------------------------

preset_run read_run(const run_files& files, const preset_row& row) {
  preset_run run{files, schedule::preset(row.name), files.metrics(), {}, files.status().at("ledger")};
  constexpr std::string_view bound = "schedule.stale.max=";
  for (const std::string_view set : row.sets)
    if (set.starts_with(bound))
      run.schedule.stale_max = static_cast<std::uint32_t>(std::stoul(std::string(set.substr(bound.size()))));
  for (const auto& line : telemetry::read_step_lines(files.folder() / "replay.jsonl"))
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
  if (run.schedule.bounded() && run.schedule.measure == schedule::stale_measure::head)
    CHECK(run.most("staleness/max") <= run.schedule.stale_max);
}

void check_each_group_once(const preset_run& run) {
  const auto groups = run.trained();
  CHECK(groups.size() == run.steps.size() * groups_per_step);
  CHECK(std::set(groups.begin(), groups.end()).size() == groups.size());
}

void try_preset(const preset_row& row) {
  auto pipeline = row.pipeline;
  pipeline.preset = row.name;
  strings sets{"--set", "placement.rollout.processes=1"};
  for (const char* set : row.sets)
    sets.insert(sets.end(), {"--set", set});
  const tiny_run tiny(pipeline);
  const auto done = run_to_end(tiny.start(sets));
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  const auto run = read_run(tiny.files(), row);
  CHECK(run.files.status().at("state") == "finished");
  CHECK(run.steps.size() == static_cast<std::size_t>(pipeline.steps));
  check_ledger(run);
  check_bound(run);
  check_each_group_once(run);
  row.particular(run);
}

} // namespace

TEST_CASE("every preset runs: it finishes, its ledger closes, its bound holds, and it is what it is there for") {
  for (const auto& row : table())
    SUBCASE(row.name) {
      CAPTURE(row.name);
      try_preset(row);
    }
}
