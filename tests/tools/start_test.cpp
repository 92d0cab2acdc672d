#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

namespace start_test {

using namespace millrace::tests;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double bound_s = 10; // loading a program that watches itself takes seconds
#else
constexpr double bound_s = 1;
#endif

} // namespace

TEST_CASE("from process start to the first token of a tiny model: under a second") {
  const auto start = std::chrono::steady_clock::now();
  // As a person starts it: the tests' own environment spares the program a start of its own.
  strings words{"/usr/bin/env", "-u", "OMP_WAIT_POLICY", "-u", "UCX_HANDLE_ERRORS"};
  const auto generate = command_line({"generate", tiny_model().string(), "--prompt", "hi", "--max-new-tokens", "1"});
  words.insert(words.end(), generate.begin(), generate.end());
  const auto command = run_to_end(words);
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CAPTURE(command.err);
  REQUIRE(command.status == 0);
  CHECK(nlohmann::json::parse(command.out).at("answers").at(0).at("tokens").size() == 1);
  MESSAGE("process start to end, one token: " << took << " s");
  CHECK(took < bound_s);
}

} // namespace start_test
