#include "runtime/telemetry/trajectories.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace verify_test {

// Answers that somebody gave, scored by a pipeline's rules.

using namespace millrace::tests;
using json = nlohmann::json;

namespace {

constexpr const char* number_and_exact = "roles.rules.rules=[{type=\"number\"},{type=\"exact\",weight=0.5}]";

/// A pipeline file and a file of answers.
struct answers {
  tiny_run run;
  std::string file = (run / "answers.jsonl").string();

  explicit answers(const std::string& rows, const tiny_pipeline& pipeline = {}) : run(pipeline) {
    write_file(file, rows);
  }

  strings command(const strings& more = {}) const {
    auto words = command_line({"verify", (run / "tiny.toml").string(), "--rows", file});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  finished_command verify(const strings& more = {}) const { return run_to_end(command(more), 60); }
};

std::vector<json> rows_of(const std::string& text) {
  std::vector<json> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    rows.push_back(json::parse(line));
  return rows;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("each row has a line with its reward and what each rule says, in the order of the rows") {
  const answers given("{\"prompt\":\"1+1?\",\"answer\":\"2\",\"completion\":\"2\"}\n"
                      "\n"
                      "{\"prompt\":\"1+2?\",\"answer\":3,\"completion\":\"It is 3.\"}\n"
                      "{\"prompt\":\"1+2?\",\"answer\":3,\"completion\":\"\"}\n"
                      "{\"prompt\":\"Who?\",\"answer\":\"Ada\",\"completion\":\"Ada\"}\n");
  const auto done = given.verify({"--set", number_and_exact});
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  CHECK(done.out.starts_with("{\"reward\":1.5,\"rewards\":{\"number\":1.0,\"exact\":1.0},\"failures\":{}}\n"));
  const auto rows = rows_of(done.out);
  REQUIRE(rows.size() == 4);
  CHECK(rows[1] == json::parse(R"({"reward":1.0,"rewards":{"number":1.0,"exact":0.0},"failures":{}})"));
  CHECK(rows[2] == json::parse(R"({"reward":0.0,"rewards":{"number":0.0,"exact":0.0},"failures":{}})"));
  // No number is expected there: no score, and no silent zero.
  CHECK(rows[3]
        == json::parse(R"({"reward":null,"rewards":{"number":null,"exact":1.0},"failures":{"number":"invalid"}})"));
  CHECK(has(done.err, given.file + ":5: rule number: invalid: "));
  CHECK(has(done.err, "4 rows scored in "));
  CHECK(has(done.err, " s, 1 of them without a reward, 0 rows not read; mean reward 0.833333\n"));
}

TEST_CASE("a row that cannot be read is named with its line, the others are scored, and the status is 1") {
  const answers given("not JSON\n"
                      "{\"prompt\":\"1+1?\",\"answer\":\"2\",\"completion\":\"2\"}\n"
                      "{\"prompt\":\"1+1?\",\"answer\":\"2\"}\n"
                      "{\"completion\":\"2\",\"answer\":\"2\"}\n"
                      "[1]\n"
                      "{\"prompt\":\"1+1?\",\"answer\":\"2\",\"completion\":2}\n"
                      "{\"prompt\":\"1+1?\",\"answer\":\"2\",\"completion\":\"2\",\"truncated\":1}\n"
                      "{\"prompt\":\"1+1?\",\"answer\":\"2\",\"completion\":\"2\",\"tokens\":-1}\n"
                      "{\"prompt\":\"1+1?\",\"answer\":\"2\",\"completion\":\"3\"}");
  const auto done = given.verify({"--set", number_and_exact});
  CAPTURE(done.err);
  CHECK(done.status == 1);
  const auto rows = rows_of(done.out);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].at("reward") == 1.5);
  CHECK(rows[1].at("reward") == 0);
  for (const auto* line :
       {":1: not JSON", ":3: no completion, want the answer's text under \"completion\"\n", ":4: no prompt, want",
        ":5: found array, want a JSON object\n", ":6: completion: found number, want text",
        ":7: truncated: found number, want true or false\n", ":8: tokens: found number, want a number of tokens"})
    CHECK_MESSAGE(has(done.err, given.file + line), line);
  CHECK(std::count(done.err.begin(), done.err.end(), '\n') == 8);
  CHECK(has(done.err, "2 rows scored in "));
  CHECK(has(done.err, ", 7 rows not read; "));
}

TEST_CASE("what a run trained on gets the rewards that it had there") {
  const tiny_run run({.steps = 3});
  REQUIRE(run_to_end(run.start({"--set", "run.trajectories_fraction=1"}), 60).status == 0);
  std::string given;
  std::vector<double> rewards;
  for (const auto& entry : std::filesystem::directory_iterator(run.files().folder()))
    if (entry.path().filename().string().starts_with("trajectories-"))
      for (const auto& group : rows_of(millrace::telemetry::read_trajectories(entry.path())))
        for (const auto& answer : group.at("answers")) {
          given += json{{"prompt", "?"}, {"answer", "1"}, {"completion", answer.at("text")}}.dump() + '\n';
          rewards.push_back(answer.at("reward").get<double>());
        }
  REQUIRE(rewards.size() == 3 * groups_per_step * 4);
  CHECK(std::count(rewards.begin(), rewards.end(), rewards[0]) < std::ssize(rewards));
  write_file(run / "answers.jsonl", given);
  const auto done = run_to_end(
      command_line({"verify", (run / "tiny.toml").string(), "--rows", (run / "answers.jsonl").string()}), 60);
  REQUIRE(done.status == 0);
  std::vector<double> again;
  for (const auto& row : rows_of(done.out))
    again.push_back(row.at("reward").get<double>());
  CHECK(again == rewards);
}

TEST_CASE("a rule that runs people's own code sees the whole row, and how it fails is said by name") {
  const answers given("{\"prompt\":\"a?\",\"answer\":\"2\",\"completion\":\"x\",\"data_source\":\"s\","
                      "\"extra_info\":{\"k\":[1.10]}}\n"
                      "{\"prompt\":\"a?\",\"answer\":\"2\",\"completion\":\"raise\",\"data_source\":\"s\"}\n"
                      "{\"prompt\":\"a?\",\"answer\":\"2\",\"completion\":\"nan\",\"data_source\":\"s\"}\n");
  write_file(given.run / "reward.py",
             "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
             "    if solution_str == 'raise':\n        raise ValueError('not today')\n"
             "    if solution_str == 'nan':\n        return float('nan')\n"
             "    return 1.0 if (data_source, ground_truth, extra_info) == ('s', '2', {'k': [1.1]}) else 0.0\n");
  const auto done =
      given.verify({"--set", "roles.rules.rules=[{type=\"python\",file=\"" + (given.run / "reward.py").string()
                                 + "\"},{type=\"format\",pattern=\"x\",match=\"search\"}]"});
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  const auto rows = rows_of(done.out);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].at("reward") == 2);
  CHECK(rows[1]
        == json::parse(R"({"reward":null,"rewards":{"python":null,"format":0.0},"failures":{"python":"crash"}})"));
  CHECK(rows[2].at("failures") == json{{"python", "malformed"}});
  CHECK(has(done.err, given.file + ":2: rule python: crash: "));
  CHECK(has(done.err, "not today"));
}

TEST_CASE("a function that wants groups gets the answers to one row together, with the source's system message") {
  std::string rows;
  for (const auto* prompt : {"a?", "a?", "a?", "b?", "a?"})
    rows += "{\"prompt\":\"" + std::string(prompt) + "\",\"answer\":\"2\",\"completion\":\"x y\"}\n";
  const answers given(rows);
  write_file(given.run / "reward.py",
             "def score(prompts, completions, completion_ids, **columns):\n"
             "    assert all(p[0] == {'role': 'system', 'content': 'Be brief.'} for p in prompts)\n"
             "    assert all(len(ids) > 0 for ids in completion_ids)\n"
             "    return [len(completions)] * len(completions)\n");
  const auto done =
      given.verify({"--set", "roles.prompts.system=Be brief.", "--set",
                    "roles.rules.rules=[{type=\"python\",function=\"score\",style=\"trl\",prompts=\"messages\",file=\""
                        + (given.run / "reward.py").string() + "\"}]"});
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  std::vector<double> rewards;
  for (const auto& row : rows_of(done.out))
    rewards.push_back(row.at("reward").is_null() ? -1 : row.at("reward").get<double>());
  CHECK(rewards == std::vector<double>{3, 3, 3, 1, 1});
}

TEST_CASE("rows that differ only in the type of their expected answer are no group") {
  const answers given("{\"prompt\":\"a?\",\"answer\":5,\"completion\":\"x\"}\n"
                      "{\"prompt\":\"a?\",\"answer\":\"5\",\"completion\":\"y\"}\n");
  write_file(given.run / "reward.py", "def score(prompts, completions, ground_truth, **columns):\n"
                                      "    return [float(isinstance(truth, int)) for truth in ground_truth]\n");
  const auto done =
      given.verify({"--set", "roles.rules.rules=[{type=\"python\",function=\"score\",style=\"trl\",file=\""
                                 + (given.run / "reward.py").string() + "\"}]"});
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  const auto rows = rows_of(done.out);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].at("reward") == 1);
  CHECK(rows[1].at("reward") == 0);
}

TEST_CASE("tokens are the row's, or else the tokenizer's; what the data set calls columns is known") {
  const answers given("{\"question\":\"a?\",\"final\":{\"is\":\"2\"},\"completion\":\"one two three\",\"tokens\":2}\n"
                      "{\"question\":\"a?\",\"final\":{\"is\":\"2\"},\"completion\":\"one two three\","
                      "\"tokens\":[5,6,7,8]}\n"
                      "{\"prompt\":\"a?\",\"answer\":\"2\",\"completion\":\"one two three four five six seven\"}\n"
                      "{\"prompt\":\"a?\",\"answer\":\"2\",\"completion\":\"2\",\"truncated\":true}\n",
                      {.source = "file = \"rows.jsonl\"\ncolumns = { prompt = \"question\", answer = \"final.is\" }"});
  write_file(given.run / "rows.jsonl", "{\"question\":\"a?\",\"final\":{\"is\":\"2\"}}\n");
  const auto done =
      given.verify({"--set", "roles.rules.rules=[{type=\"length\",max=3,must_finish=true},{type=\"exact\"}]"});
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  const auto rows = rows_of(done.out);
  REQUIRE(rows.size() == 4);
  CHECK(rows[0].at("rewards").at("length") == 1);
  CHECK(rows[1].at("rewards").at("length") == 0);
  CHECK(rows[2].at("rewards").at("length") == 0);
  CHECK(rows[3].at("rewards") == json{{"length", 0.0}, {"exact", 1.0}});
}

TEST_CASE("memory stays flat: a hundred times the rows take no more of it") {
  const answers given("");
  const auto highest = [&](int count) {
    std::ofstream out(given.file);
    for (int i = 0; i < count; ++i)
      out << "{\"prompt\":\"What is " << i << " plus 1?\",\"answer\":\"" << i + 1 << "\",\"completion\":\"It is " << i
          << ".\"}\n";
    out.close();
    running_command running(given.command({"--set", "roles.rules.rules=[{type=\"number\"}]"}));
    long kilobytes = 0;
    const auto look = [&] {
      const auto status = read_file("/proc/" + std::to_string(running.pid()) + "/status");
      if (const auto at = status.find("VmHWM:"); at != std::string::npos)
        kilobytes = std::max(kilobytes, std::stol(status.substr(at + 6)));
      return running.ended().has_value();
    };
    REQUIRE(wait_until(look, 120));
    CHECK(running.ended()->status == 0);
    CHECK(std::ssize(rows_of(running.out())) == count);
    return kilobytes;
  };
  const auto few = highest(1000), many = highest(100000);
  CAPTURE(few);
  CAPTURE(many);
  CHECK(few > 0);
  CHECK(many < few + (16 << 10));
}

TEST_CASE("which rules are meant is said where it cannot be guessed, and wrong input in one line") {
  const answers given("{\"prompt\":\"1+1?\",\"answer\":\"2\",\"completion\":\"2\"}\n");
  const strings held_out{"--set", "roles.held.kind=evaluation",
                         "--set", "roles.held.model=tiny",
                         "--set", "roles.held.generator={type=\"arithmetic\"}",
                         "--set", "roles.held.rules=[{type=\"exact\",weight=3}]",
                         "--set", "roles.learner.publishes_to=[\"rollout\",\"held\"]"};
  auto other = held_out;
  other.insert(other.end(), {"--role", "held"});
  CHECK(rows_of(given.verify(other).out).at(0).at("reward") == 3);
  CHECK(rows_of(given.verify(held_out).out).at(0).at("rewards").contains("late")); // the verifier's
  const auto refused = given.verify({"--role", "rulez"});
  CHECK(refused.status == 1);
  CHECK(has(refused.err, "--role: found rulez, want one of rules\n"));
  write_file(given.file, "\n");
  const auto empty = given.verify();
  CHECK(empty.status == 1);
  CHECK(has(empty.err, given.file + ": found no rows, want at least one\n"));
  std::filesystem::remove(given.file);
  const auto missing = given.verify();
  CHECK(missing.status == 1);
  CHECK(has(missing.err, given.file + ": cannot be opened, want a JSONL file\n"));
}

} // namespace verify_test
