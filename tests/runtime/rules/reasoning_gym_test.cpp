#include "runtime/rules/rule.hpp"
#include "runtime/words/enum_words.hpp"
#include "tests/support/stand_in_gym.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>
#include <string>

namespace reasoning_gym_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

/// The row of a data set as a source gives it.
row_context row_of(const std::string& data_set, const std::string& question, int index) {
  return {.prompt = {{"user", question}},
          .data_source = data_set,
          .extra_info = R"({"reasoning_gym":{"config":{},"dataset":")" + data_set + R"(","index":)"
                        + std::to_string(index) + R"(,"seed":5,"size":4}})"};
}

std::unique_ptr<rule> scorer_of(const std::string& python, const std::string& extract = "tag") {
  return make_rule("reasoning_gym", {{"python", python}, {"extract", extract}, {"workers", std::int64_t{1}}});
}

/// "0.5", "kind: reason" or "not applicable".
std::string score_by(const rule& scorer, const row_context& row, const std::string& text) {
  const auto found = scorer.evaluate({.text = text, .answer = "", .row = &row});
  if (found.status == score_status::not_applicable)
    return "not applicable";
  return found.status == score_status::value ? std::to_string(found.value).substr(0, 3)
                                             : word(found.kind) + ": " + found.reason;
}

} // namespace

TEST_CASE("an answer is worth what the data set's own scorer gives, on the row as it was made") {
  const tests::temporary_folder folder;
  const auto python = tests::python_with_stand_in_gym(folder.path()).string();
  const auto tagged = scorer_of(python), whole = scorer_of(python, "all");
  CHECK(tagged->unusable().empty());
  auto row = row_of("doubling", "2 times 5?", 0);
  CHECK(score_by(*tagged, row, "first <answer>3</answer>, no: <answer> 10 </answer>") == "1.0");
  CHECK(score_by(*tagged, row, "<answer>0</answer>") == "0.5");
  CHECK(score_by(*tagged, row, "10") == "0.0");
  CHECK(score_by(*whole, row, "10") == "1.0");
  CHECK(score_by(*whole, row_of("doubling", "2 times 8?", 3), "16") == "1.0");
  CHECK(
      score_by(*whole, row_of("doubling", "2 times 9?", 3), "16")
      == "malformed: reasoning-gym makes another question of row 4 of doubling here, want the version of it that made "
         "the rows");
  CHECK(score_by(*whole, row_of("none", "2 times 5?", 0), "10")
        == "crash: the function raised ValueError: Dataset 'none' not registered");
  row.extra_info = R"({"index": 3})";
  CHECK(score_by(*whole, row, "10") == "not applicable");
}

TEST_CASE("a Python without reasoning-gym is named with what to install") {
  const tests::temporary_folder folder;
  const auto python =
      tests::python_with_stand_in_gym(folder.path(), "raise ImportError('No module named reasoning_gym')\n").string();
  const auto why = make_rule("reasoning_gym", {{"python", python}})->unusable();
  CHECK(why.starts_with("no reasoning-gym in "));
  CHECK(why.find("env/bin/pip install reasoning-gym") != std::string::npos);
}

TEST_CASE("the scorers of the real reasoning-gym pay their own answers in full") {
  const char* python = std::getenv("MILLRACE_REASONING_GYM_PYTHON");
  if (!python) {
    std::cout << "skipped: MILLRACE_REASONING_GYM_PYTHON names no Python with reasoning-gym\n";
    return;
  }
  const tests::temporary_folder folder;
  const auto scorer = scorer_of(python);
  for (const std::string name :
       {"leg_counting", "countdown", "sudoku", "knights_knaves", "time_intervals", "word_ladder"}) {
    CAPTURE(name);
    tests::write_file(folder / "row.py", "import reasoning_gym, sys\n"
                                         "row = reasoning_gym.create_dataset(sys.argv[1], size=4, seed=5)[1]\n"
                                         "for name in ('question', 'answer'):\n"
                                         "    open(sys.argv[2] + '/' + name, 'w').write(row[name])\n");
    REQUIRE(std::system(
                (std::string(python) + " " + (folder / "row.py").string() + " " + name + " " + folder.path().string())
                    .c_str())
            == 0);
    const auto row = row_of(name, tests::read_file(folder / "question"), 1);
    CHECK(score_by(*scorer, row, "I think <answer>" + tests::read_file(folder / "answer") + "</answer>") == "1.0");
    CHECK(score_by(*scorer, row, "I do not know") != "1.0");
  }
}

} // namespace reasoning_gym_test
