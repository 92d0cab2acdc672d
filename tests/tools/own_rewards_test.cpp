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

namespace {

/// Raises on some of the answers, by what they say; gives any other at least 5.
constexpr const char* raises_on_some = R"py(
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    if sum(solution_str.encode()) % 5 == 3:
        raise ValueError('no score today')
    return 5.0 + len(solution_str) % 3
)py";

double sum_of(const run_on_disk& files, const std::string& figure) {
  double sum = 0;
  for (const auto& row : files.metrics())
    sum += row.at(figure).get<double>();
  return sum;
}

/// That every reward which was trained is one that the function gave.
void check_nothing_failed_was_trained(const run_on_disk& files) {
  for (const auto& row : files.metrics()) {
    CHECK(row.at("reward").get<double>() >= 5);
    CHECK(row.at("rewards/python/mean").get<double>() >= 5);
  }
}

} // namespace

TEST_CASE("a function that fails at every answer ends the run by itself, even where all answers may be lost") {
  const own_reward own("def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
                       "    raise ValueError('no score ever')\n");
  auto how = own.rules();
  how.insert(how.end(), {"--set", "roles.rules.max_failures=1"});
  const auto done = run_to_end(own.run.start(how), 60);
  CAPTURE(done.err);
  CHECK(done.status == 1);
  CHECK(done.err.find("roles.rules: every one of the last 64 groups was lost (crash 256), and none is left to train; "
                      "the last one: group ")
        != std::string::npos);
  CHECK(done.err.find("crash: python: the function raised ValueError: no score ever") != std::string::npos);
}

TEST_CASE("a function that fails at some answers loses their groups, by name, and nothing of them is trained") {
  const own_reward own(raises_on_some);
  auto how = own.rules();
  how.insert(how.end(), {"--set", "roles.rules.max_failures=1"}); // most groups of four have such an answer
  const auto done = run_to_end(own.run.start(how), 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  CHECK(done.err.find("dropped: rules: crash: python: the function raised ValueError: no score today")
        != std::string::npos);
  CHECK(sum_of(own.run.files(), "groups/unscored") > 0);
  CHECK(sum_of(own.run.files(), "verifier/failures/crash") >= sum_of(own.run.files(), "groups/unscored"));
  CHECK(sum_of(own.run.files(), "answers/masked") == 0);
  check_nothing_failed_was_trained(own.run.files());
}

TEST_CASE("with failed = mask only the failed answers are left out, and the ledger and a replay agree") {
  const own_reward own(raises_on_some);
  auto how = own.rules();
  how.insert(how.end(), {"--set", "roles.rules.failed=mask"});
  const auto done = run_to_end(own.run.start(how), 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  CHECK(done.err.find("masked, without a score: crash: python: the function raised ValueError: no score today")
        != std::string::npos);
  CHECK(sum_of(own.run.files(), "answers/masked") > 0);
  CHECK(sum_of(own.run.files(), "verifier/failures/crash") >= sum_of(own.run.files(), "answers/masked"));
  check_nothing_failed_was_trained(own.run.files());
  const auto again = run_to_end(command_line({"replay", own.run.files().folder().string()}), 60);
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

TEST_CASE("a function that fails too often ends the run in one line, with either option") {
  for (const char* option : {"drop", "mask"}) {
    const own_reward own("def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
                         "    raise ValueError('never a score')\n");
    auto how = own.rules();
    how.insert(how.end(),
               {"--set", std::string("roles.rules.failed=") + option, "--set", "roles.rules.max_failures=0.9"});
    const auto done = run_to_end(own.run.start(how), 60);
    CAPTURE(done.err);
    CHECK(done.status == 1);
    CHECK(done.err.find("answers were lost for want of a score, more than its max_failures allows; the last one: group")
          != std::string::npos);
  }
}

TEST_CASE("what a function returns beside its score is a figure of the step, and an object as the answer is a dict") {
  const own_reward own("def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
                       "    assert data_source == 'objects' and ground_truth == {'cases': [1, 2.5]}\n"
                       "    return {'score': float(len(solution_str)), 'twice': 2 * len(solution_str), 'word': 'x'}\n");
  std::string rows;
  for (int i = 0; i < 12; ++i)
    rows += "{\"prompt\": \"What is " + std::to_string(i)
            + R"(?", "data_source": "objects", "reward_model": {"ground_truth": )" + R"({"cases": [1, 2.5]}}})"
            + "\n{\"prompt\": \"x\", \"answer\": \"1\", \"data_source\": \"poems\"}\n";
  write_file(own.run / "rows.jsonl", rows);
  auto how = own.rules(", when = {data_source = \"objects\"}");
  how.insert(how.end(),
             {"--set", "roles.prompts={kind = \"source\", file = \"" + (own.run / "rows.jsonl").string() + "\"}"});
  const auto done = run_to_end(own.run.start(how), 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  CHECK(done.err.find("no rule is for its data_source \"poems\"") != std::string::npos);
  for (const auto& row : own.run.files().metrics()) {
    CHECK(row.at("rule/python/twice").get<double>() == doctest::Approx(2 * row.at("reward").get<double>()));
    CHECK_FALSE(row.contains("rule/python/word"));
  }
}

TEST_CASE("check says in one line that a reward file has a mistake, and a run ends before its first prompt") {
  const own_reward own("def another():\n    pass\n");
  const auto refused = run_to_end(own.run.check(own.rules()), 60);
  CAPTURE(refused.err);
  CHECK(refused.status == 1);
  CHECK(refused.err.find("found no function 'compute_score'") != std::string::npos);
  CHECK(std::count(refused.err.begin(), refused.err.end(), '\n') == 1);
  const auto ended = run_to_end(own.run.start(own.rules()), 60);
  CAPTURE(ended.err);
  CHECK(ended.status == 1);
  CHECK(ended.err.find("python: found no function 'compute_score'") != std::string::npos);
  CHECK(ended.err.find("dropped") == std::string::npos);
}

} // namespace own_rewards_test
