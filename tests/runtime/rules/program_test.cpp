#include "runtime/rules/rule.hpp"
#include "runtime/words/enum_words.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace program_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

/// A rule that runs this Python for each line it reads, as the variable `row`.
std::unique_ptr<rule> made(const std::string& statement) {
  const std::string script = "import json, sys, time\nfor line in sys.stdin:\n  row = json.loads(line)\n  " + statement
                             + "\n  sys.stdout.flush()\n";
  return make_rule("program", {{"command", std::vector<std::string>{"python3", "-c", script}},
                               {"workers", std::int64_t{1}},
                               {"deadline_ms", std::int64_t{2000}}});
}

std::string failure_of(const std::string& statement) {
  const auto found = made(statement)->evaluate({.text = "x", .answer = "4"});
  CHECK(found.status == score_status::error);
  return word(found.kind) + ": " + found.reason;
}

} // namespace

TEST_CASE("a program reads an answer a line and writes a score a line") {
  const auto rule = made("print(json.dumps({'id': row['id'], 'score': float(row['completion'] == row['ground_truth']), "
                         "'metrics': {'length': len(row['completion'])}}))");
  CHECK(rule->evaluate({.text = "4", .answer = "4"}).value == 1);
  const auto second = rule->evaluate({.text = "12", .answer = "4"});
  CHECK(second.value == 0);
  CHECK(second.metrics.at("length") == 2);
}

TEST_CASE("a program sees the whole row, and how the answer ended") {
  const auto rule =
      made("want = {'data_source': 'sums', 'prompt': [{'role': 'user', 'content': '2 + 2?'}], 'completion': "
           "'4', 'ground_truth': {'n': 4}, 'extra_info': {'index': 7}, 'finish_reason': row['id'] and "
           "'length' or 'stop'}; print(json.dumps({'id': row['id'], 'score': float({k: v for k, v in "
           "row.items() if k != 'id'} == want)}))");
  const row_context row{.prompt = {{"user", "2 + 2?"}},
                        .data_source = "sums",
                        .extra_info = R"({"index": 7})",
                        .ground_truth = R"({"n": 4})"};
  for (const bool truncated : {false, true}) // the ids 0 and 1
    CHECK(rule->evaluate({.text = "4", .answer = R"({"n": 4})", .truncated = truncated, .row = &row}).value == 1);
}

TEST_CASE("a program that is not there is missed before anything starts") {
  const auto why = [](const std::string& program) {
    return make_rule("program", {{"command", std::vector<std::string>{program}}})->unusable();
  };
  CHECK(why("no-such-program") == "command: found no program \"no-such-program\" in PATH");
  CHECK(why("./no-such-program") == "command: found no program \"./no-such-program\"");
  CHECK(why("/etc/passwd") == "command: found no program \"/etc/passwd\""); // no program
  CHECK(why("cat") == "");                                                  // lives until its stdin ends
}

TEST_CASE("null is not applicable, and nonsense a failure") {
  CHECK(made("print(json.dumps({'id': row['id'], 'score': None}))")->evaluate({.text = "4"}).status
        == score_status::not_applicable);
  CHECK(failure_of("print('hello')") == "malformed: a reply that is no JSON object: hello");
  CHECK(failure_of("print(json.dumps({'id': -1, 'score': 1}))") == "malformed: a reply to another question");
  CHECK(failure_of("print(json.dumps({'id': row['id'], 'score': '1'}))")
        == "malformed: score: found 1, want a number or null");
  CHECK(failure_of("print('[' * 100000)").starts_with("malformed: "));
  CHECK(failure_of("sys.exit(4)") == "crash: the process ended with exit status 4");
}

TEST_CASE("a program without a name is a mistake of the pipeline") {
  CHECK_THROWS_AS(make_rule("program", {{"command", std::vector<std::string>{}}}), input_error);
}

} // namespace program_test
