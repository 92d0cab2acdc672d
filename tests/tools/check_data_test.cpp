#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

namespace check_data_test {

// What `check --data` says of the rows before a run.

using namespace millrace::tests;
using json = nlohmann::json;

namespace {

constexpr const char* from_file = "file = \"rows.jsonl\"\nmax_prompt_tokens = 200";

/// A pipeline whose prompts come from a file with these rows.
struct rows_to_check {
  tiny_run run;
  std::string file = (run / "rows.jsonl").string();

  explicit rows_to_check(const std::string& rows, const std::string& source = from_file) : run({.source = source}) {
    write_file(file, rows);
  }

  finished_command check(const std::string& rules, const strings& more = {}) const {
    auto command = run.check({"--data", "--set", "roles.rules.rules=" + rules});
    command.insert(command.end(), more.begin(), more.end());
    return run_to_end(command, 60);
  }

  /// The one line about the source.
  json report(const std::string& rules, const strings& more = {}) const {
    strings with_json{"--json"};
    with_json.insert(with_json.end(), more.begin(), more.end());
    const auto done = check(rules, with_json);
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    const auto at = done.out.find("\n{");
    REQUIRE(at != std::string::npos);
    return json::parse(done.out.substr(at + 1, done.out.find('\n', at + 1) - at - 1));
  }
};

std::string row(const std::string& prompt, const std::string& answer) {
  return json{{"prompt", prompt}, {"answer", answer}}.dump() + '\n';
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("every row is read; what is left out is counted by its reason, with the first row of each") {
  std::string rows;
  for (int i = 0; i < 5; ++i)
    rows += row("What is " + std::to_string(i) + " plus 1?", std::to_string(i + 1));
  rows += row("Who?", "Ada") + row("Who else?", "Bob");
  rows += "{\"prompt\": \"no answer\"}\nnot JSON\n";
  for (const int words : {210, 220, 230}) {
    std::string prompt;
    for (int i = 0; i < words; ++i)
      prompt += " word";
    rows += row(prompt, "1");
  }
  const rows_to_check data(rows);
  const auto report = data.report("[{type=\"number\"}]");
  CHECK(report.at("source") == "prompts");
  CHECK(report.at("from") == data.file);
  CHECK(report.at("rows") == 12);
  CHECK(report.at("used") == 5);
  const auto& skipped = report.at("skipped");
  REQUIRE(skipped.size() == 4);
  CHECK(skipped[0].at("rows") == 3);
  CHECK(has(skipped[0].at("example"), data.file + ":10: a prompt of "));
  CHECK(has(skipped[0].at("example"), " tokens, want at most 200"));
  CHECK(skipped[1].at("rows") == 2);
  CHECK(skipped[1].at("example") == data.file + ":6: number: the row's answer is no number: 'Ada'");
  CHECK(skipped[2].at("rows") == 1);
  CHECK(skipped[3].at("rows") == 1);
  const auto words = data.check("[{type=\"number\"}]");
  CHECK(has(words.out, "data of prompts (" + data.file + "): 12 rows, 5 of them used\n"));
  CHECK(has(words.out, "3 skipped, e.g. " + data.file + ":10: a prompt of "));
}

TEST_CASE("the first prompts are shown as the model will see them, with the lengths of all") {
  std::string rows;
  for (int i = 0; i < 100; ++i)
    rows += row(std::string("x") + (i == 99 ? " word word word word word word word word" : ""), "1");
  const rows_to_check data(rows, "file = \"rows.jsonl\"\nsystem = \"Be brief.\"");
  const auto report = data.report("[{type=\"number\"}]");
  REQUIRE(report.at("prompts").size() == 2);
  const auto& prompt = report.at("prompts")[0];
  CHECK(prompt.at("row") == data.file + ":1");
  CHECK(has(prompt.at("text"), "Be brief."));
  const auto length = prompt.at("tokens").size();
  const auto& tokens = report.at("prompt_tokens");
  CHECK(tokens.at("shortest") == length);
  CHECK(tokens.at("p50") == length);
  CHECK(tokens.at("p99") == length);
  CHECK(tokens.at("longest") > length);
  // They are the tokens that a model generates from.
  write_file(data.run / "ids.jsonl", prompt.at("tokens").dump() + '\n');
  const auto decoded = run_to_end(
      command_line({"tokenize", tiny_model().string(), "--decode", "--file", (data.run / "ids.jsonl").string()}));
  CHECK(json::parse(decoded.out) == prompt.at("text"));
  CHECK(has(data.check("[{type=\"number\"}]").out,
            "tokens of a prompt: shortest " + std::to_string(length) + ", p50 " + std::to_string(length) + ", p90 "));
}

TEST_CASE("a rule gives the rows' own answers full marks in the form that it wants, and that form is said") {
  const rows_to_check data(row("1+1?", "2") + row("1+2?", "3") + row("2+2?", "4"));
  const auto all = [&](const std::string& rules) {
    std::string said;
    const auto report = data.report(rules);
    for (const auto& rule : report.at("rules")) {
      CHECK(rule.at("full_rows") == 3);
      CHECK(rule.at("scores").size() == 1);
      said += rule.at("scores")[0].at("forms").dump();
    }
    return said;
  };
  CHECK(all("[{type=\"number\"},{type=\"exact\"}]") == "{\"as written\":3}{\"as written\":3}");
  CHECK(all("[{type=\"number\",extract=\"boxed\"}]") == "{\"in \\\\boxed{}\":3}");
  CHECK(all("[{type=\"number\",extract=\"hash\"}]") == "{\"behind ####\":3}");
  CHECK(all("[{type=\"math_dapo\"}]") == "{\"behind Answer:\":3}");
  CHECK(has(data.check("[{type=\"number\",extract=\"boxed\"}]").out,
            "rule number of rules: gives 3 of 3 expected answers full marks (1): 3 in \\boxed{}\n"));
}

TEST_CASE("a rule that does not give its own expected answers full marks is named, with examples") {
  const rows_to_check data(row("a?", "1,234") + row("b?", "x = 5") + row("c?", "7") + row("d?", "8"));
  write_file(data.run / "reward.py", "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
                                     "    if ground_truth == '8':\n        raise ValueError('eight')\n"
                                     "    return 1.0 if solution_str.isdigit() else 0.25\n");
  const auto rules = "[{type=\"python\",file=\"" + (data.run / "reward.py").string() + "\"},{type=\"exact\"}]";
  const auto words = data.check(rules);
  CAPTURE(words.err);
  REQUIRE(words.status == 0);
  CHECK(has(words.out, "rule python of rules: gives 1 of 4 expected answers full marks (1): 1 as written\n"));
  CHECK(has(words.out, "warning: rule python of rules: does not give 3 of 4 expected answers full marks (1)\n"
                       "  2 score 0.25 (2 as written)\n    "
                           + data.file + ":1: answer '1,234'\n    " + data.file + ":2: answer 'x = 5'\n"
                           + "  1 have no score, crash\n    " + data.file + ":4: answer '8': "));
  CHECK(has(words.out, "rule exact of rules: gives 4 of 4 expected answers full marks (1): 4 as written\n"));
}

TEST_CASE("full marks are what the rule gives at most, and a rule that looks at no answer is said to") {
  const rows_to_check data(row("a?", "1") + row("b?", "2"));
  write_file(data.run / "reward.py", "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
                                     "    return 10 if ground_truth == '1' else 2\n");
  const auto report = data.report("[{type=\"python\",file=\"" + (data.run / "reward.py").string()
                                  + "\"},{type=\"format\",pattern=\"<think>.*\"},{type=\"length\",max=5}]");
  const auto& rules = report.at("rules");
  REQUIRE(rules.size() == 3);
  CHECK(rules[0].at("full_marks") == 10);
  CHECK(rules[0].at("full_rows") == 1);
  CHECK(rules[0].at("rows") == 2);
  CHECK(rules[1].at("compares") == false);
  CHECK(rules[2].at("compares") == false);
}

TEST_CASE("rows that are made up are sampled, and of an evaluation's file every row is read too") {
  const tiny_run run;
  write_file(run / "held.jsonl", row("1+1?", "2") + row("1+2?", "3") + "{}\n");
  const auto done = run_to_end(
      run.check({"--data", "--set", "roles.held.kind=evaluation", "--set", "roles.held.model=tiny", "--set",
                 "roles.held.file=" + (run / "held.jsonl").string(), "--set", "roles.held.rules=[{type=\"exact\"}]",
                 "--set", "roles.learner.publishes_to=[\"rollout\",\"held\"]", "--set",
                 "roles.rules.rules=[{type=\"number\"}]"}),
      60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  CHECK(has(done.out, "data of prompts (arithmetic, made up): a sample of 1000 rows, as many as one likes can be made "
                      "up, 1000 of them used\n"));
  CHECK(has(done.out, "rule number of rules: gives 1000 of 1000 expected answers full marks (1): 1000 as written\n"));
  CHECK(has(done.out, "data of held (" + (run / "held.jsonl").string() + "): 3 rows, 2 of them used\n"));
  CHECK(has(done.out, "rule exact of held: gives 2 of 2 expected answers full marks (1): 2 as written\n"));
}

TEST_CASE("data of which nothing can be used fails, and what is wrong with it is still counted") {
  const rows_to_check data("{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\nnot JSON\n");
  const auto refused = data.check("[{type=\"number\"}]");
  CHECK(refused.status == 1);
  CHECK(has(refused.out, "3 rows, 0 of them used\n2 skipped, e.g. " + data.file + ":1: no answer, want one under"));
  CHECK(has(refused.out, "1 skipped, e.g. " + data.file + ":3: not JSON"));
  CHECK(has(refused.err, "check: found data of which no row can be used, want some\n"));
}

} // namespace check_data_test
