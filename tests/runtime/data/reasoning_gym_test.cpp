#include "runtime/data/usable_rows.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/stand_in_gym.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>
#include <set>
#include <string>
#include <vector>

namespace reasoning_gym_test {

using namespace millrace;
using namespace millrace::data;
using tests::python_with_stand_in_gym;

namespace {

std::unique_ptr<source> source_of(const reasoning_gym_options& options, const std::string& python,
                                  std::uint64_t epochs = 1, bool shuffle = false) {
  file_options how{.shuffle = shuffle, .epochs = epochs, .python = {.program = python}};
  return in_epochs({"reasoning_gym/" + options.data_set, open_reasoning_gym(options, how.python), how, {}});
}

std::string error_of(const reasoning_gym_options& options, const std::string& python) {
  try {
    open_reasoning_gym(options, {.program = python});
  } catch (const input_error& error) {
    return error.what();
  }
  return "";
}

} // namespace

TEST_CASE("rows of a data set of reasoning-gym: question, answer, and how its scorer makes the row again") {
  const tests::temporary_folder folder;
  const auto python = python_with_stand_in_gym(folder.path());
  const auto rows =
      source_of({.data_set = "doubling", .size = 4, .seed = 10, .config = R"({"factor": 3})"}, python.string());
  const auto first = rows->next().value();
  CHECK((first.prompt == std::vector<chat_turn>{{"user", "3 times 10?"}}));
  CHECK(first.answer == "30");
  CHECK(first.data_source == "doubling");
  CHECK(first.where == "reasoning_gym/doubling:row 1");
  CHECK(first.extra
        == R"({"reasoning_gym":{"config":{"factor":3},"dataset":"doubling","index":0,"seed":10,"size":4}})");
  CHECK(rows->next()->answer == "33");
  CHECK(rows->next()->answer == "any that its scorer takes");
  CHECK(rows->next()->answer == "39");
  CHECK(!rows->next());
  CHECK(rows->skipped() == 0);
}

TEST_CASE("a data set goes on from a saved position, in another order each epoch") {
  const tests::temporary_folder folder;
  const auto python = python_with_stand_in_gym(folder.path()).string();
  const reasoning_gym_options options{.data_set = "doubling", .size = 20};
  const auto rows = source_of(options, python, 2, true);
  for (int i = 0; i < 25; ++i)
    rows->next();
  const auto place = rows->save();
  const auto again = source_of(options, python, 2, true);
  again->restore(place);
  std::set<std::string> rest;
  while (const auto row = rows->next()) {
    rest.insert(row->where);
    CHECK(again->next()->where == row->where);
  }
  CHECK(rest.size() == 15);
}

TEST_CASE("what keeps a data set from being made is told in one line") {
  const tests::temporary_folder folder, without;
  const auto python = python_with_stand_in_gym(folder.path()).string();
  CHECK(error_of({.data_set = "none"}, python)
        == "reasoning_gym/none: Dataset 'none' not registered, want a data set of reasoning-gym");
  CHECK(error_of({.data_set = "doubling", .config = R"({"legs": 1})"}, python).find("'legs'") != std::string::npos);
  const auto bare =
      python_with_stand_in_gym(without.path(), "raise ImportError('No module named reasoning_gym')\n").string();
  const auto missing = error_of({.data_set = "doubling"}, bare);
  CHECK(missing.starts_with("reasoning_gym/doubling: no reasoning-gym in "));
  CHECK(missing.find("want it: python3 -m venv env && env/bin/pip install reasoning-gym") != std::string::npos);
}

TEST_CASE("every data set of the real reasoning-gym gives rows") {
  const char* python = std::getenv("MILLRACE_REASONING_GYM_PYTHON");
  if (!python) {
    std::cout << "skipped: MILLRACE_REASONING_GYM_PYTHON names no Python with reasoning-gym\n";
    return;
  }
  const auto legs = source_of({.data_set = "leg_counting", .size = 500, .seed = 42}, python);
  const auto first = legs->next().value();
  CHECK(first.prompt.at(0).content.find("how many legs are there in total if you have 3 sea slugs")
        != std::string::npos);
  CHECK(first.answer == "100");
  for (const char* name : {"rubiks_cube", "countdown", "sudoku", "knights_knaves", "time_intervals", "zebra_puzzles"}) {
    const auto rows = source_of({.data_set = name, .size = 3}, python);
    CAPTURE(name);
    for (int i = 0; i < 3; ++i)
      CHECK(rows->next().has_value());
  }
}

} // namespace reasoning_gym_test
