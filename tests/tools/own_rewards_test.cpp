#include "tests/support/stand_in_gym.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

namespace own_rewards_test {

// A person's own reward function, from the pipeline file to the metrics.

using namespace millrace::tests;

namespace {

constexpr const char* letters = R"py(
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    assert data_source == "arithmetic" and ground_truth.lstrip("-").isdigit()
    return 1.0 if any(c in "abcde0123456789" for c in solution_str) else 0.0
)py";

/// The tiny run with a reward file as its only rule.
struct own_reward {
  tiny_run run;

  explicit own_reward(const std::string& python) : run({.steps = 3}) { write_file(run / "reward.py", python); }

  strings rules(const std::string& more = "") const {
    return {"--set", "roles.rules.rules=[{type = \"python\", file = \"" + (run / "reward.py").string()
                         + "\", function = \"compute_score\", style = \"verl\"" + more + "}]"};
  }
};

strings rewards_of(const run_on_disk& files) {
  strings rewards;
  for (const auto& row : files.metrics())
    rewards.push_back(row.at("reward").dump());
  return rewards;
}

} // namespace

TEST_CASE("a function of verl's form gives the same rewards, step by step, as the built-in rule that says the same") {
  const own_reward own(letters);
  const auto done = run_to_end(own.run.start(own.rules()), 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  const tiny_run built_in({.steps = 3});
  REQUIRE(run_to_end(built_in.start({"--set", "roles.rules.rules=[{type = \"format\", pattern = \"[a-e0-9]\", match "
                                              "= \"search\"}]"}))
              .status
          == 0);
  CHECK(rewards_of(own.run.files()) == rewards_of(built_in.files()));
  const auto again = run_to_end(command_line({"replay", own.run.files().folder().string()}), 60);
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

TEST_CASE("a data set of reasoning-gym beside another source is scored by its own scorer, and made again") {
  const temporary_folder folder;
  const auto python = python_with_stand_in_gym(
      folder.path(),
      std::string(stand_in_gym)
          + "Doubling.score_answer = lambda self, answer, entry: float(any(c in 'abcde' for c in answer))\n");
  const tiny_run run({.steps = 4,
                      .source = "sampler = \"difficulty\"\nsources = [ { name = \"gym\", weight = 3, python = \""
                                + python.string()
                                + "\", generator = { type = \"reasoning_gym\", dataset = \"doubling\", size = 8 } },"
                                  " { name = \"rows\", file = \""
                                + (folder / "rows.jsonl").string() + "\" } ]"});
  write_file(folder / "rows.jsonl", "{\"prompt\": \"a\", \"answer\": \"1\"}\n{\"prompt\": \"b\", \"answer\": \"1\"}\n");
  const auto rules = [&](const std::string& with) {
    return strings{"--set", "roles.rules.rules=[{type = \"reasoning_gym\", extract = \"all\", python = \"" + with
                                + "\"}, {type = \"format\", pattern = \"[a-e0-9]\", match = \"search\"}]"};
  };
  const auto done = run_to_end(run.start(rules(python.string())), 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  for (const auto& row : run.files().metrics()) {
    CHECK(row.at("groups/from/gym") == 3);
    CHECK(row.at("reward/gym") > row.at("rewards/reasoning_gym/mean"));
    CHECK(row.at("rewards/reasoning_gym/mean") > 0);
  }
  const auto again = run_to_end(command_line({"replay", run.files().folder().string()}), 60);
  CAPTURE(again.err);
  CHECK(again.status == 0);
  const temporary_folder without;
  const auto bare = python_with_stand_in_gym(without.path(), "raise ImportError('No module named reasoning_gym')\n");
  const auto refused = run_to_end(run.check(rules(bare.string())), 60);
  CHECK(refused.status == 1);
  CHECK(refused.err.find("rule reasoning_gym: no reasoning-gym in ") != std::string::npos);
  CHECK(std::count(refused.err.begin(), refused.err.end(), '\n') == 1);
}

TEST_CASE("a function that fails at some answers loses their groups, by name, and nothing of them is trained") {
  const own_reward own("import itertools\nseen = itertools.count()\n"
                       "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
                       "    if next(seen) % 20 == 3:\n        raise ValueError('no score today')\n"
                       "    return float(len(solution_str))\n");
  const auto done = run_to_end(own.run.start(own.rules(", workers = 1")), 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  CHECK(done.err.find("no score today") != std::string::npos);
  double unscored = 0;
  for (const auto& row : own.run.files().metrics())
    unscored += row.at("groups/unscored").get<double>();
  CHECK(unscored > 0);
  std::set<std::uint64_t> trained;
  std::size_t count = 0;
  for (const auto& [step, groups] : own.run.files().trained_groups()) {
    trained.insert(groups.begin(), groups.end());
    count += groups.size();
  }
  CHECK(trained.size() == count);
  std::size_t dropped = 0;
  for (const std::uint64_t group : trained)
    dropped += done.err.find("group " + std::to_string(group) + " dropped") != std::string::npos;
  CHECK(dropped == 0);
}

TEST_CASE("check says in one line that a reward file has a mistake, and a run ends before it generates") {
  const own_reward own("def another():\n    pass\n");
  const auto checked = run_to_end(own.run.check(own.rules()), 60);
  CAPTURE(checked.err);
  CHECK(checked.status == 1);
  CHECK(checked.err.find("compute_score") != std::string::npos);
  CHECK(std::count(checked.err.begin(), checked.err.end(), '\n') == 1);
  const auto refused = run_to_end(own.run.start(own.rules()), 60);
  CAPTURE(refused.err);
  CHECK(refused.status == 1);
  CHECK(refused.err.find("compute_score") != std::string::npos);
  CHECK(own.run.files().steps() == 0);
  CHECK(refused.err.find("dropped") == std::string::npos);
}

} // namespace own_rewards_test
