#include "runtime/rules/code_tests.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/mutations.hpp"

#include <doctest/doctest.h>

namespace code_tests_test {

using namespace millrace;
using namespace millrace::rules;
using texts = std::vector<std::string>;

namespace {

std::string refused(std::string_view answer) {
  try {
    read_code_tests(answer);
  } catch (const input_error& error) {
    return error.what();
  }
  return {};
}

} // namespace

TEST_CASE("inputs and outputs are stdin and stdout, as text or as lines") {
  const auto tests = read_code_tests(R"({"inputs": ["1 2\n", ["3", "4"]], "outputs": ["3\n", ["7", "8"]]})");
  CHECK(tests.kind == test_kind::input);
  CHECK(tests.given == texts{"1 2\n", "3\n4"});
  CHECK(tests.expected[0] == "3\n");
  CHECK(tests.expected[1] == "7\n8");
}

TEST_CASE("with a function's name, inputs are its arguments and outputs what it returns") {
  const auto tests =
      read_code_tests(R"({"fn_name": "add", "inputs": ["1\n[2]", [3, "x"]], "outputs": ["[3]", "no JSON"]})");
  CHECK(tests.kind == test_kind::call);
  CHECK(tests.function == "add");
  CHECK(tests.given == texts{"1\n[2]", "3\n\"x\"\n"});
  CHECK(tests.expected[0] == nlohmann::json{3});
  CHECK(tests.expected[1] == "no JSON");
}

TEST_CASE("a check of an entry point is one test") {
  const auto tests = read_code_tests(R"({"test": "def check(f):\n  assert f(1) == 2", "entry_point": "inc"})");
  CHECK(tests.kind == test_kind::assertion);
  CHECK(tests.given == texts{"def check(f):\n  assert f(1) == 2\ncheck(inc)\n"});
}

TEST_CASE("statements of assert come as a list, with a set-up, or as text") {
  CHECK(read_code_tests(R"json(["assert f(1) == 1", "assert f(2) == 2"])json").given.size() == 2);
  const auto row = read_code_tests(R"json({"test_list": ["assert f(1)"], "test_setup_code": "import math"})json");
  CHECK(row.setup == "import math");
  CHECK(row.given == texts{"assert f(1)"});
  const auto text = read_code_tests("import math\nassert f(1) == [\n  1]\nassert(f(2))");
  CHECK(text.setup == "import math\n");
  CHECK(text.given == texts{"assert f(1) == [\n  1]\n", "assert(f(2))"});
}

TEST_CASE("what holds no tests is refused in one line") {
  const std::string want = ", want \"inputs\" and \"outputs\", \"test\" and \"entry_point\", or statements of assert";
  CHECK(refused("") == "tests: found nothing" + want);
  CHECK(refused("the answer is 42\nsurely") == "tests: found \"the answer is 42\"" + want);
  CHECK(refused("42") == "tests: found a JSON number" + want);
  CHECK(refused("{}") == "tests: found a JSON object without tests" + want);
  CHECK(refused(R"({"inputs": [], "outputs": []})")
        == "tests: found \"inputs\" and \"outputs\" that are no lists of one length" + want);
  CHECK(refused(R"({"inputs": ["1"], "outputs": ["1", "2"]})")
        == "tests: found \"inputs\" and \"outputs\" that are no lists of one length" + want);
  CHECK(refused(R"({"inputs": [1], "outputs": ["1"]})")
        == "tests: found an input or output that is of type number" + want);
  CHECK(refused(R"({"test": "x"})") == "tests: found a \"test\" without an \"entry_point\"" + want);
  CHECK(refused(R"({"test": "x = 1", "entry_point": "f"})") == "tests: found a \"test\" that defines no check" + want);
  CHECK(refused(R"({"fn_name": "f", "inputs": ["[1"], "outputs": ["2"]})")
        == "tests: found the argument \"[1\" that is no JSON" + want);
  CHECK(refused("[1]") == "tests: found a list of what is no text" + want);
  CHECK(refused("[]") == "tests: found an empty list" + want);
  CHECK(refused(std::string(200, '[') + std::string(200, ']')) == "tests: found more than 64 levels" + want);
}

TEST_CASE("injured tests are read or refused in one line") {
  int refused = 0;
  for (const char* whole :
       {R"json({"fn_name": "add", "inputs": ["1\n[2]", [3, {"x": 1}]], "outputs": ["[3]", [4]]})json",
        R"json({"test_list": ["assert f(1)"], "test_setup_code": "import math"})json",
        "import math\nassert f(1) == [\n  1]\nassert(f(2))"})
    refused += tests::refused_of(whole, 2000, [](const std::string& bytes) { read_code_tests(bytes); });
  CHECK(refused > 1000);
  CHECK(refused < 6000);
}

} // namespace code_tests_test
