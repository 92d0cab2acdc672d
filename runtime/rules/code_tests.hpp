#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::rules {

/// How tests ask a program.
enum class test_kind : std::uint8_t {
  input,     ///< on stdin; what it prints on stdout is compared
  call,      ///< its function with arguments; what that returns is compared
  assertion, ///< statements of `assert` that run after it, in the same interpreter
};

/// What a row says about a program.
struct code_tests {
  test_kind kind = test_kind::input;
  std::string function;                 ///< of `call`
  std::string setup;                    ///< Python that runs before the program; of `assertion`
  std::vector<std::string> given;       ///< a test each: stdin; arguments, a JSON text a line; Python
  std::vector<nlohmann::json> expected; ///< of `input` (text) and `call`: one a test
};

/// The tests in a row's expected answer. It takes
///
///     {"inputs": [...], "outputs": [...]}, with "fn_name" where a function is called (verl's prime_code, APPS, TACO)
///     {"test": "def check(candidate): ...", "entry_point": "..."}                                       (HumanEval)
///     {"test_list": ["assert ..."], "test_setup_code": "..."}, or only the list                               (MBPP)
///     Python text with statements of assert that begin a line: what stands before the first one runs before the
///     program
///
/// @throws input_error in one line for anything else
code_tests read_code_tests(std::string_view answer);

} // namespace millrace::rules
