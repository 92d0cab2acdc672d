#include "runtime/workers/python_workers.hpp"
#include "runtime/workers/worker_process.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <string>

namespace reward_worker_test {

using namespace millrace;
using namespace millrace::workers;

namespace {

/// What the script says first of a file with this text.
std::string greeting(const std::string& text, const std::string& function = "f", const std::string& style = "verl") {
  const tests::temporary_folder folder;
  const auto file = folder.path() / "reward.py";
  std::ofstream(file) << text;
  worker_process process({.arguments = {"python3", "-c", reward_worker_script, file.string(), function, style}});
  return process.receive(std::chrono::steady_clock::now() + std::chrono::seconds(30));
}

} // namespace

TEST_CASE("the script says in one line why a function cannot be used") {
  const std::string good = "def f(data_source, solution_str, ground_truth, extra_info=None):\n  return 1\n";
  CHECK(greeting(good) == R"({"error": ""})");
  CHECK(greeting(good, "g") == R"({"error": "found no function 'g'"})");
  CHECK(greeting("f = 3\n") == R"({"error": "'f' is int, want a function"})");
  CHECK(greeting("import no_such_module\n")
        == R"({"error": "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"})");
  CHECK(greeting("def f(:\n").find("SyntaxError") != std::string::npos);
  CHECK(greeting("import sys\nsys.exit(3)\n") == R"({"error": "cannot be imported: SystemExit: 3"})");
  CHECK(greeting("def f(text):\n  return 1\n").find("'f(text)' cannot be called in verl's way") != std::string::npos);
}

TEST_CASE("a TRL function may name columns of its data") {
  CHECK(greeting("def f(prompts, completions, solution, **rest):\n  return []\n", "f", "trl") == R"({"error": ""})");
  CHECK(greeting("def f(queries):\n  return []\n", "f", "openrlhf").find("openrlhf's way") != std::string::npos);
}

} // namespace reward_worker_test
