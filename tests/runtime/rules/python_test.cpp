#include "runtime/rules/rule_set.hpp"
#include "runtime/words/enum_words.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

namespace python_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

/// A rule over a Python file with this text.
struct python_rule {
  python_rule(const std::string& text, option_values more = {}) {
    tests::write_file(folder / "reward.py", text);
    more.emplace("file", (folder / "reward.py").string());
    more.emplace("workers", std::int64_t{1});
    made = make_rule("python", more);
  }

  /// The score of an answer, "0.5", "kind: reason" or "not applicable".
  std::string of(const std::string& text) const {
    const row_context row{.prompt = {{"user", "2 + 2?"}}, .data_source = "sums", .extra_info = R"({"index": 7})"};
    return words(made->evaluate({.text = text, .answer = "4", .row = &row}));
  }

  static std::string words(const score& s) {
    if (s.status == score_status::not_applicable)
      return "not applicable";
    return s.status == score_status::value ? std::to_string(s.value).substr(0, 4) : word(s.kind) + ": " + s.reason;
  }

  tests::temporary_folder folder;
  std::unique_ptr<rule> made;
};

const std::string head = "def compute_score(data_source, solution_str, ground_truth, extra_info):\n  ";

} // namespace

TEST_CASE("a function in verl's style gets verl's four arguments and gives a number or a dict, also as a coroutine") {
  const python_rule plain(head
                          + "assert (data_source, extra_info['index']) == ('sums', 7)\n"
                            "  return 0.25 if solution_str == ground_truth else 0");
  CHECK(plain.of("4") == "0.25");
  CHECK(plain.of("5") == "0.00");
  const python_rule dict(head + "return {'score': 0.5, 'extra': 3, 'word': 'x'}");
  CHECK(dict.of("4") == "0.50");
  CHECK(dict.made->evaluate({.text = "4"}).metrics == std::map<std::string, double>{{"extra", 3.0}});
  CHECK(python_rule("async " + head + "return True").of("4") == "1.00");
}

TEST_CASE("an expected answer that is no text reaches the function as what it is, in every style") {
  const auto type_of = [](const python_rule& rule, const std::string& ground_truth) {
    const row_context row{.prompt = {{"user", "x"}}, .ground_truth = ground_truth};
    const std::string answer = ground_truth.empty() ? "text" : ground_truth;
    return python_rule::words(rule.made->evaluate_group(std::vector<rule_input>{{.answer = answer, .row = &row}})[0]);
  };
  const std::string order = "[str, int, float, dict, list, bool].index(type(x))";
  const python_rule verl("def compute_score(data_source, solution_str, ground_truth, extra_info):\n  x = ground_truth\n"
                         "  return "
                         + order);
  const python_rule trl("def compute_score(prompts, completions, answer, **more):\n  x = answer[0]\n  return [" + order
                            + "]",
                        {{"style", std::string("trl")}});
  const python_rule openrlhf("def compute_score(queries, prompts, labels):\n  x = labels[0]\n  return [" + order + "]",
                             {{"style", std::string("openrlhf")}});
  for (const auto* rule : {&verl, &trl, &openrlhf}) {
    CHECK(type_of(*rule, "") == "0.00");
    CHECK(type_of(*rule, "9007199254740993") == "1.00");
    CHECK(type_of(*rule, "1.10") == "2.00");
    CHECK(type_of(*rule, R"({"cases": [1, 2]})") == "3.00");
    CHECK(type_of(*rule, "[]") == "4.00");
    CHECK(type_of(*rule, "false") == "5.00");
  }
}

TEST_CASE("integers of any length reach a function with all their digits, in the answer and in extra_info") {
  const std::string digits = "123456789012345678901234567890123456789012345678901234567890";
  const python_rule rule(head + "return [ground_truth, extra_info['n'], extra_info['list'][0]['m']] == [" + digits
                         + ", -" + digits
                         + ", 18446744073709551616] and type(ground_truth) is int and extra_info['x'] == 0.1");
  const row_context row{.prompt = {{"user", "x"}},
                        .extra_info = R"({"n": -)" + digits + R"(, "list": [{"m": 18446744073709551616}], "x": 0.1})",
                        .ground_truth = digits};
  CHECK(python_rule::words(rule.made->evaluate({.text = "x", .answer = digits, .row = &row})) == "1.00");
  CHECK(python_rule::words(rule.made->evaluate({.text = "\xff", .answer = digits, .row = &row})) == "1.00");
}

TEST_CASE("whatever a function does instead of scoring is a failure of its kind, and the next answer is scored") {
  const python_rule rule(head
                             + "return eval(solution_str, globals())\n"
                               "import math, os, sys, time\n"
                               "def no(): raise ValueError('no')\n"
                               "def loop():\n  while True: pass\n"
                               "def fork():\n  os.fork()\n  return 0.5\n"
                               "def shout():\n  print('x' * 3000000, file=open(os.devnull, 'w'))\n  return 0.5\n",
                         {{"deadline_ms", std::int64_t{300}}});
  const std::vector<std::pair<std::string, std::string>> cases{
      {"math.nan", "malformed: the function returned nan, want a finite number"},
      {"-math.inf", "malformed: the function returned -inf, want a finite number"},
      {"'1.0'", "malformed: the function returned '1.0', want a number"},
      {"None", "malformed: the function returned nothing, want a number"},
      {"[1, 2]", "malformed: the function returned list, want a number"},
      {"{'points': 1}", "malformed: the function returned a dict without 'score'"},
      {"no()", "crash: the function raised ValueError: no"},
      {"sys.exit(3)", "crash: the function called sys.exit(3)"},
      {"os._exit(3)", "crash: the process ended with exit status 3"},
      {"os.kill(os.getpid(), 9)", "crash: the process ended by signal 9 (Killed)"},
      {"loop()", "timeout: no score within 300 ms"},
      {"time.sleep(1000)", "timeout: no score within 300 ms"},
      {"fork()", "0.50"},
      {"shout()", "0.50"}};
  for (const auto& [answer, wanted] : cases) {
    CAPTURE(answer);
    CHECK(rule.of(answer) == wanted);
    CHECK(rule.of("0.75") == "0.75");
  }
}

TEST_CASE("whatever a function of a group returns is a failure of its kind: of one answer where it can be, or of all") {
  using lines = std::vector<std::string>;
  const auto nothing = [](const std::string& what) {
    const auto line = "malformed: the function returned " + what;
    return lines{line, line};
  };
  const std::vector<std::pair<std::string, lines>> cases{
      {"[1.0, 0.5]", {"1.00", "0.50"}},
      {"(1.0, 0.5)", {"1.00", "0.50"}},
      {"[1.0, float('nan')]", {"1.00", "malformed: the function returned nan, want a finite number"}},
      {"[float('inf'), 1]", {"malformed: the function returned inf, want a finite number", "1.00"}},
      {"[1.0, 'yes']", {"1.00", "malformed: the function returned 'yes', want a number"}},
      {"[1.0, []]", {"1.00", "malformed: the function returned list, want a number"}},
      {"[1.0]", nothing("a list of 1, want 2")},
      {"[1.0, 2.0, 3.0]", nothing("a list of 3, want 2")},
      {"[]", nothing("a list of 0, want 2")},
      {"None", nothing("nothing, want a list of 2")},
      {"1.0", nothing("float, want a list of 2")},
      {"'1'", nothing("str, want a list of 2")},
      {"{'points': [1, 2]}", {}},
      {"1 / 0",
       {"crash: the function raised ZeroDivisionError: division by zero",
        "crash: the function raised ZeroDivisionError: division by zero"}}};
  for (const std::string style : {"trl", "openrlhf"})
    for (const auto& [returned, wanted] : cases) {
      CAPTURE(style + ": " + returned);
      const python_rule rule("def compute_score("
                                 + std::string(style == "trl" ? "prompts, completions, **more" : "q, p, l")
                                 + "):\n  return " + returned + "\n",
                             {{"style", style}});
      lines found;
      for (const auto& s : rule.made->evaluate_group(std::vector<rule_input>(2)))
        found.push_back(python_rule::words(s));
      if (!wanted.empty())
        CHECK(found == wanted);
      else
        CHECK(found[0].starts_with("malformed: the function returned "));
    }
}

TEST_CASE("megabytes that a function prints go to the run's stderr and into no score") {
  const tests::temporary_folder folder;
  const auto log = (folder / "log").string();
  const int own = dup(STDERR_FILENO), file = open(log.c_str(), O_WRONLY | O_CREAT, 0600);
  dup2(file, STDERR_FILENO); // what the process inherits
  const python_rule rule(head + "print('x' * 3000000)\n  import sys\n  sys.stderr.write('y' * 3000000)\n  return 0.5");
  const auto first = rule.of("a"), second = rule.of("b");
  dup2(own, STDERR_FILENO);
  close(own);
  close(file);
  CHECK(first == "0.50");
  CHECK(second == "0.50");
  CHECK(std::filesystem::file_size(log) >= 9000000); // what is printed last may still wait in the process
}

TEST_CASE("a function that eats more than its memory fails, and the run goes on") {
  const python_rule rule(head + "return len(bytearray(int(solution_str))) and 1",
                         {{"memory_bytes", std::int64_t{256} << 20}});
  CHECK(rule.of("1000") == "1.00");
  CHECK(rule.of("1000000000") == "crash: the function raised MemoryError");
  CHECK(rule.of("1000") == "1.00");
}

TEST_CASE("a function in TRL's style gets a group's answers at once; None leaves an answer to the other rules") {
  const python_rule rule("def f(prompts, completions, completion_ids, index, **more):\n"
                         "  assert prompts == ['2 + 2?'] * 2 and index == [7, 7] and more['solution'] == ['4', '4']\n"
                         "  return [None if c == '' else float(len(c) + len(i)) for c, i in zip(completions, "
                         "completion_ids)]\n",
                         {{"function", std::string("f")}, {"style", std::string("trl")}});
  CHECK(rule.made->wants_groups());
  const row_context row{.prompt = {{"user", "2 + 2?"}}, .data_source = "sums", .extra_info = R"({"index": 7})"};
  const std::vector<std::int32_t> ids{1, 2};
  const std::vector<rule_input> group{{.text = "abc", .answer = "4", .row = &row, .completion_ids = ids},
                                      {.text = "", .answer = "4", .row = &row}};
  const auto scores = rule.made->evaluate_group(group);
  REQUIRE(scores.size() == 2);
  CHECK(python_rule::words(scores[0]) == "5.00");
  CHECK(python_rule::words(scores[1]) == "not applicable");
}

TEST_CASE("in TRL's style a row's own columns come before what extra_info calls so, and extra_info is a column") {
  const python_rule rule("def f(prompts, completions, answer, solution, data_source, level, extra_info):\n"
                         "  return [answer == solution == ['4'] and data_source == ['sums'] and level == [3]\n"
                         "          and extra_info == [{'answer': 'It is 4.', 'data_source': 'web', 'level': 3}]]\n",
                         {{"function", std::string("f")}, {"style", std::string("trl")}});
  const row_context row{.prompt = {{"user", "2 + 2?"}},
                        .data_source = "sums",
                        .extra_info = R"({"answer": "It is 4.", "data_source": "web", "level": 3})"};
  CHECK(python_rule::words(rule.made->evaluate({.text = "4", .answer = "4", .row = &row})) == "1.00");
}

TEST_CASE("a list of the wrong length is a failure of every answer of its group") {
  const python_rule rule("def f(queries, prompts, labels):\n  return {'rewards': [1.0]}\n",
                         {{"function", std::string("f")}, {"style", std::string("openrlhf")}});
  const std::vector<rule_input> group(2);
  for (const auto& s : rule.made->evaluate_group(group))
    CHECK(python_rule::words(s) == "malformed: the function returned a list of 1, want 2");
  CHECK(rule.of("x") == "1.00");
}

TEST_CASE("a file that cannot be used says so in one line before anything is scored") {
  CHECK(python_rule("x = 1\n").made->unusable() == "found no function 'compute_score'");
  CHECK(python_rule(head + "return 1").made->unusable().empty());
  CHECK(make_rule("python", {{"file", std::string("/no/such.py")}})->unusable()
        == "found no file /no/such.py, want one with the function");
  CHECK(
      python_rule(head + "return 1", {{"python", std::string("/no/python")}}).made->unusable().find("cannot be started")
      != std::string::npos);
  CHECK_THROWS_AS(make_rule("python", {}), input_error);
}

} // namespace python_test
