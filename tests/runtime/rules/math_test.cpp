#include "runtime/rules/rule.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

namespace math_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

double math_score(const option_values& options, std::string_view text, std::string_view answer) {
  const score s = make_rule("math", options)->evaluate({text, answer, 0, false});
  REQUIRE(s.status == score_status::value);
  return s.value;
}

} // namespace

TEST_CASE("math: an answer in another spelling is right, another answer is wrong") {
  CHECK(math_score({}, "So \\boxed{\\dfrac{1}{2}}.", "0.5") == 1);
  CHECK(math_score({}, "So \\boxed{(x+1)^2}.", "$x^2+2x+1$") == 1);
  CHECK(math_score({}, "#### 1,200", "1200") == 1);
  CHECK(math_score({}, "So \\boxed{\\dfrac{1}{3}}.", "0.33") == 0);
  CHECK(math_score({}, "", "5") == 0);
}

TEST_CASE("math: the row's answer may itself be a solution with a box or ####") {
  CHECK(math_score({}, "\\boxed{7}", "3 + 4 = 7, so \\boxed{7}") == 1);
  CHECK(math_score({}, "\\boxed{7}", "3 + 4 = 7\n#### 7") == 1);
}

TEST_CASE("math: extract says where the answer is looked for") {
  CHECK(math_score({{"extract", "boxed"}}, "#### 7", "7") == 0);
  CHECK(math_score({{"extract", "hash"}}, "#### 7", "7") == 1);
  CHECK(math_score({{"extract", "whole"}}, " 14/2 ", "7") == 1);
}

TEST_CASE("math: a row without an answer cannot be scored, nor one with an empty box") {
  CHECK(make_rule("math", {})->evaluate({"\\boxed{1}", "", 0, false}).status == score_status::invalid);
  CHECK(make_rule("math", {})->evaluate({"\\boxed{1}", "\\boxed{}", 0, false}).status == score_status::invalid);
}

namespace {

/// A Python in which `math_verify` says that 1/2 is this integral, that it stumbles over \\stumble, and nothing else.
struct python_with_package {
  explicit python_with_package(const std::string& package) {
    tests::write_file(folder / "math_verify.py", package);
    tests::write_file(folder / "python",
                      "#!/bin/sh\nPYTHONPATH='" + folder.path().string() + "' exec python3 \"$@\"\n");
    std::filesystem::permissions(folder / "python", std::filesystem::perms::owner_all);
  }

  std::unique_ptr<rule> made() const {
    return make_rule("math", {{"fallback", std::string("math_verify")},
                              {"python", (folder / "python").string()},
                              {"workers", std::int64_t{1}}});
  }

  tests::temporary_folder folder;
};

constexpr const char* knows_one_integral = R"py(
import os
asked = []

def parse(text):
    if "stumble" in text:
        raise ValueError("stumbled")
    return text

def verify(gold, answer):
    asked.append(answer)
    return "$\\int_0^1 x dx$" in (gold, answer) and ("$1/2$" in (gold, answer)) or len(asked) > 100
)py";

} // namespace

TEST_CASE("math: a formula that the rule cannot read is asked of math-verify, if the pipeline says so, and no other") {
  const python_with_package python(knows_one_integral);
  const auto with = python.made(), without = make_rule("math", {});
  CHECK(with->unusable().empty());
  const auto both = [&](const std::string& text, const std::string& answer) {
    return std::pair(with->evaluate({text, answer, 0, false}).value, without->evaluate({text, answer, 0, false}).value);
  };
  using scores = std::pair<double, double>;
  CHECK(both("So \\boxed{\\int_0^1 x dx}.", "1/2") == scores{1, 0});
  CHECK(both("So \\boxed{1/2}.", "$\\int_0^1 x dx$") == scores{1, 0});
  CHECK(both("So \\boxed{\\int_0^2 x dx}.", "1/2") == scores{0, 0});
  CHECK(both("So \\boxed{\\int_0^2 x dx}.", "\\int_0^2 x dx") == scores{1, 1});
  // What can be read is decided here: it never gets to the one that stumbles.
  for (const char* read : {"0.5", "\\frac{1}{3}", "(1, 2)", "x^2 + 1", "blue", ""})
    CHECK(both(std::string("So \\boxed{") + read + "}.", "7") == scores{0, 0});
}

TEST_CASE("math: where math-verify fails the answer has no score, and check says that the package is missing") {
  const python_with_package python(knows_one_integral);
  const auto failed = python.made()->evaluate({"\\boxed{\\stumble{7}}", "1/2", 0, false});
  CHECK(failed.status == score_status::error);
  CHECK(failed.kind == failure_kind::crash);
  CHECK(failed.reason == "the function raised ValueError: stumbled");
  const python_with_package without("import no_such_part_of_it\n");
  CHECK(without.made()->unusable()
        == "fallback math_verify: cannot be imported: ModuleNotFoundError: No module named 'no_such_part_of_it' (pip "
           "install 'math-verify[antlr4_13_2]')");
}

} // namespace math_test
