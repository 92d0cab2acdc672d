#include "runtime/rules/rule.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/sandbox/usable.hpp"

#include <string>

namespace code_test {

using namespace millrace;
using namespace millrace::rules;
using tests::has_sandboxes;

namespace {

std::unique_ptr<rule> made(option_values more = {}) {
  more.emplace("language", std::string("python"));
  return make_rule("code", more);
}

std::string block(const std::string& program) {
  return "So:\n```python\n" + program + "\n```\n";
}

score scored(const std::string& program, std::string_view tests, option_values more = {}) {
  const auto found = made(std::move(more))->evaluate({.text = block(program), .answer = tests});
  CHECK(found.reason == "");
  CHECK(found.status == score_status::value);
  return found;
}

constexpr const char* sums = R"({"inputs": ["1 2", "3 4", "5 6", "7 8"], "outputs": ["3", "7", "11", "15"]})";
constexpr const char* calls = R"({"fn_name": "add", "inputs": ["1\n2", "[3]\n[4]"], "outputs": ["3", "[3, 4]"]})";
constexpr const char* asserts = "assert add(1, 2) == 3\nassert add(3, 4) == 7\n";

} // namespace

TEST_CASE("the score is the share of tests that pass") {
  if (!has_sandboxes())
    return;
  CHECK(scored("print(sum(map(int, input().split())))", sums).value == 1);
  const auto half = scored("a, b = map(int, input().split())\nprint(a + b if a < 5 else 0)", sums);
  CHECK(half.value == 0.5);
  CHECK(half.metrics.at("tests") == 4);
  CHECK(half.metrics.at("passed") == 2);
  CHECK(scored("print(0)", sums).value == 0);
  CHECK(scored("print(0", sums).value == 0);
}

TEST_CASE("all or nothing") {
  if (!has_sandboxes())
    return;
  CHECK(scored("print(sum(map(int, input().split())))", sums, {{"score", "all"}}).value == 1);
  CHECK(scored("a, b = map(int, input().split())\nprint(a + b if a < 5 else 0)", sums, {{"score", "all"}}).value == 0);
}

TEST_CASE("a program reads stdin in every way") {
  if (!has_sandboxes())
    return;
  for (const std::string read : {"input()", "sys.stdin.readline()", "sys.stdin.read()", "open(0).read()",
                                 "sys.stdin.buffer.read().decode()", "os.read(0, 100).decode()"})
    CHECK(scored("import os, sys\nprint(sum(map(int, " + read + ".split())))", sums).value == 1);
}

TEST_CASE("a main guard, an exit, a thread, and buffered output are programs as well") {
  if (!has_sandboxes())
    return;
  const std::string sum = "print(sum(map(int, input().split())))";
  CHECK(scored("def main():\n  " + sum + "\nif __name__ == '__main__': main()", sums).value == 1);
  CHECK(scored(sum + "\nexit()", sums).value == 1);
  CHECK(scored("import threading\nthreading.stack_size(1 << 26)\nthreading.Thread(target=lambda: " + sum + ").start()",
               sums)
            .value
        == 1);
  CHECK(
      scored(
          "import io, sys, atexit\nout = io.StringIO()\natexit.register(lambda: sys.__stdout__.write(out.getvalue()))\n"
          "print(sum(map(int, input().split())), file=out)",
          sums)
          .value
      == 1);
  CHECK(scored(sum + "\nraise ValueError", sums).value == 0);
  CHECK(scored(sum + "\nexit(3)", sums).value == 0);
}

TEST_CASE("a function is called, alone or of a Solution, with names that contests take for granted") {
  if (!has_sandboxes())
    return;
  CHECK(scored("def add(a, b): return a + b", calls).value == 1);
  CHECK(scored("class Solution:\n  def add(self, a: List[int], b: Optional[int]): return a + b", calls).value == 1);
  CHECK(scored("def add(a, b): return (3, 4) if isinstance(a, list) else 3", calls).value == 1); // a tuple is a list
  CHECK(scored("def add(a, b): return a", calls).value == 0);
  CHECK(scored("def plus(a, b): return a + b", calls).value == 0);
  CHECK(scored("def add(a, b):\n  print('noise')\n  return a + b", calls).value == 1);
  CHECK(scored("def size(d): return d[1]", R"({"fn_name": "size", "inputs": ["{\"1\": 5}"], "outputs": ["5"]})").value
        == 1);
}

TEST_CASE("statements of assert, one by one or as a check") {
  if (!has_sandboxes())
    return;
  CHECK(scored("def add(a, b): return a + b", asserts).value == 1);
  CHECK(scored("def add(a, b): return 3", asserts).value == 0.5);
  CHECK(
      scored("def inc(a): return a + 1", R"({"test": "def check(f):\n  assert f(1) == 2", "entry_point": "inc"})").value
      == 1);
  CHECK(scored("def inc(a): return a", R"({"test": "def check(f):\n  assert f(1) == 2", "entry_point": "inc"})").value
        == 0);
  const char* const close =
      R"json({"test_list": ["assert math.isclose(area(1), 3.14)"], "test_setup_code": "import math"})json";
  CHECK(scored("def area(r): return 3.14 * r", close).value == 1);
}

TEST_CASE("a program that ends before its asserts has passed none") {
  if (!has_sandboxes())
    return;
  for (const std::string end :
       {"import os; os._exit(0)", "exit()", "raise SystemExit", "import os; os.kill(1, 9); os._exit(0)"})
    CHECK(scored("def add(a, b): return a + b\n" + end, asserts).value == 0);
}

TEST_CASE("a program that runs out of its time has failed that test, and the others count") {
  if (!has_sandboxes())
    return;
  const auto found = scored("a, b = map(int, input().split())\nwhile a == 3: pass\nprint(a + b)", sums,
                            {{"test_ms", std::int64_t{700}}});
  CHECK(found.value == 0.75);
  CHECK(found.metrics.at("late") == 1);
  CHECK(scored("import time\ntime.sleep(60)", sums, {{"total_ms", std::int64_t{1500}}}).value == 0);
}

TEST_CASE("more output, memory, processes or files than allowed is a test that failed") {
  if (!has_sandboxes())
    return;
  const std::string sum = "print(sum(map(int, input().split())))";
  CHECK(scored("print('x' * 5000000)", sums).value == 0);
  CHECK(scored("x = bytearray(1 << 30)\n" + sum, sums).value == 0);
  CHECK(scored("import os, time\nfor _ in range(40):\n  if os.fork() == 0: time.sleep(60)\n" + sum, sums).value == 0);
  CHECK(scored("for i in range(99): open(f'/tmp/{i}', 'wb').write(bytes(1 << 20))\n" + sum, sums).value == 0);
}

TEST_CASE("one test leaves nothing behind for the next") {
  if (!has_sandboxes())
    return;
  CHECK(
      scored("import os\nassert os.listdir('/tmp') == []\nos.makedirs('/tmp/a/b')\nopen('/tmp/a/b/c', 'w').write('x')\n"
             "if os.fork() == 0:\n  os.setsid()\n  import time\n  time.sleep(60)\n"
             "print(sum(map(int, input().split())))",
             sums, {{"processes", std::int64_t{2}}})
          .value
      == 1);
}

TEST_CASE("what is expected is not in the sandbox, nor are this machine's files and secrets") {
  if (!has_sandboxes())
    return;
  CHECK(scored("import gc\ntexts = [o for o in gc.get_objects() if isinstance(o, dict)]\n"
               "assert not any(str(4711471147110000 + 4711) in str(v) for d in texts for v in "
               "d.values())\nprint(4711471147110000 + 4711)",
               R"({"inputs": [""], "outputs": ["4711471147114711"]})")
            .value
        == 1);
  CHECK(scored("print(open('/etc/passwd').read())", sums).value == 0);
}

TEST_CASE("an answer without a program has score 0, and extract = text takes the whole answer") {
  const auto rule = made();
  const auto found = rule->evaluate({.text = "I do not know.", .answer = sums});
  CHECK(found.status == score_status::value);
  CHECK(found.value == 0);
  if (!has_sandboxes())
    return;
  CHECK(made({{"extract", "text"}})->evaluate({.text = "print(sum(map(int, input().split())))", .answer = sums}).value
        == 1);
}

TEST_CASE("only the first tests are run where the rule says so") {
  if (!has_sandboxes())
    return;
  const auto found =
      scored("a, b = map(int, input().split())\nprint(a + b if a < 5 else 0)", sums, {{"most_tests", std::int64_t{2}}});
  CHECK(found.value == 1);
  CHECK(found.metrics.at("tests") == 2);
}

TEST_CASE("a row without tests is unreadable, and never scored") {
  const auto rule = made();
  CHECK(rule->unreadable(sums) == "");
  CHECK(rule->unreadable("42").starts_with("tests: found a JSON number, want "));
  const auto found = rule->evaluate({.text = block("print(1)"), .answer = "42"});
  CHECK(found.status == score_status::invalid);
  CHECK(found.reason == rule->unreadable("42"));
}

TEST_CASE("tests that are no Python are no fault of the answer") {
  if (!has_sandboxes())
    return;
  for (const std::string_view tests :
       {std::string_view(R"(["assert f(1 == 2"])"), std::string_view(R"({"test": "def check(c:", "entry_point": "f"})"),
        std::string_view(R"({"test_list": ["assert f(1) == 1"], "test_setup_code": "import ("})")}) {
    const auto found = made()->evaluate({.text = block("def f(x):\n  return x"), .answer = tests});
    CAPTURE(found.reason);
    CHECK(found.status == score_status::invalid);
    CHECK(found.reason.starts_with("tests: found "));
    CHECK(found.reason.ends_with(", want Python"));
  }
}

TEST_CASE("set-up that fails, and a module of the tests that is not there, are no fault of the answer") {
  if (!has_sandboxes())
    return;
  const std::string want = ", want what runs before any answer, with modules that are in the sandbox";
  const auto said_of = [](const std::string& tests, option_values more = {}) {
    const auto found = made(std::move(more))->evaluate({.text = block("def f(x):\n  return x"), .answer = tests});
    CHECK(found.status == score_status::invalid);
    return found.reason;
  };
  const auto with_setup = [](const std::string& setup) {
    return R"({"test_list": ["assert f(1) == 1"], "test_setup_code": ")" + setup + "\"}";
  };
  CHECK(said_of(with_setup("import no_such_module"))
        == "tests: found setup: ModuleNotFoundError: No module named 'no_such_module'" + want);
  CHECK(said_of(with_setup("limit = 1 / 0")) == "tests: found setup: ZeroDivisionError: division by zero" + want);
  CHECK(said_of(with_setup("exit(0)")) == "tests: found setup: SystemExit: 0" + want);
  CHECK(said_of(with_setup("import os; os._exit(0)")) == "tests: found setup: its process ended" + want);
  CHECK(said_of(with_setup("while True: pass"), {{"test_ms", std::int64_t{300}}})
        == "tests: found setup: no end within 0.3 s" + want);
  CHECK(
      said_of("from no_such_module import x\nassert f(1) == 1").starts_with("tests: found setup: ModuleNotFoundError"));
  CHECK(said_of(R"({"test": "import no_such_module\ndef check(c):\n  assert c(1) == 1", "entry_point": "f"})")
        == "tests: found test: ModuleNotFoundError: No module named 'no_such_module'" + want);
  CHECK(said_of(R"({"test": "def check(c):\n  from math import no_such\n  assert c(1) == 1", "entry_point": "f"})")
            .starts_with("tests: found test: ImportError: cannot import name 'no_such' from 'math'"));
}

TEST_CASE("an answer cannot make its own failure one of the tests") {
  if (!has_sandboxes())
    return;
  const std::string tests =
      R"({"test_list": ["import math\nassert math.floor(f(1.5)) == 1"], "test_setup_code": "import json"})";
  CHECK(scored("def f(x):\n  return x", tests).value == 1);
  for (const std::string program :
       {"import no_such_module", "raise ImportError('math')",
        "import sys\nsys.modules['math'] = None\ndef f(x): return x",
        "import os\nos.write(1, b'broken setup: no\\n')\nos._exit(0)", "def f(x): raise ModuleNotFoundError('json')"})
    CHECK(scored(program, tests).value == 0);
}

TEST_CASE("tests may try for a module, and use what the answer defines") {
  if (!has_sandboxes())
    return;
  CHECK(
      scored(
          "def f(x):\n  return x",
          R"json({"test": "try:\n  import no_such_module\nexcept ImportError:\n  pass\nfrom answer import f as g\n)json"
          R"json(same = f\ndef check(c):\n  assert same(1) == g(1) == c(1)", "entry_point": "f"})json")
          .value
      == 1);
}

TEST_CASE("an interpreter that is not there is a failure, never a score") {
  if (!has_sandboxes())
    return;
  const auto rule = made({{"python", "python-of-nowhere"}});
  const auto found = rule->evaluate({.text = block("print(1)"), .answer = sums});
  CHECK(found.status == score_status::error);
  CHECK(found.kind == failure_kind::refused);
  CHECK(found.reason.starts_with("\"python-of-nowhere\" does not run in the sandbox"));
  CHECK(rule->unusable() == found.reason);
  CHECK(made()->unusable() == "");
}

TEST_CASE("options are checked") {
  CHECK_THROWS_AS(make_rule("code", {}), input_error);
  CHECK_THROWS_AS(made({{"folders", std::vector<std::string>{"env"}}}), input_error);
  CHECK(made({{"total_ms", std::int64_t{1000}}, {"slots", std::int64_t{2}}})->longest(4)
        == 2 * std::chrono::milliseconds(41000));
}

} // namespace code_test
