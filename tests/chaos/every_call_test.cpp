#include "tests/chaos/chaos.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <csignal>

namespace every_call_test {

/// A run that is killed at each call that changes its folder, or whose call fails: resume goes on every time.

using namespace millrace::tests;

namespace {

constexpr int steps = 4;

/// The command, with its k-th change of `folder` struck.
strings struck(const strings& command, const std::filesystem::path& folder, int k, const std::string& how) {
  strings words{"/usr/bin/env", std::string("LD_PRELOAD=") + MILLRACE_FAILING_CALLS,
                "MILLRACE_CALLS_FOLDER=" + folder.string(), "MILLRACE_CALLS_AT=" + std::to_string(k),
                "MILLRACE_CALLS_HOW=" + how};
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

tiny_run fresh_run() {
  return tiny_run({.steps = steps, .run = "checkpoint_every = 1\n"});
}

/// The run is at its end and nothing is lost, by `resume` or, where the run had not begun, by `run`.
void check_goes_on(const tiny_run& run) {
  const auto files = run.files();
  const bool begun = std::filesystem::exists(files.folder() / "resolved.toml");
  const auto done = run_to_end(begun ? run.resume() : run.start());
  CAPTURE(begun);
  CAPTURE(done.err);
  CHECK(done.status == 0);
  check_each_group_once(files, steps);
  CHECK(files.status().value("state", "") == "finished");
}

/// Tries k = first, first + stride, ... until a run comes to its end before its k-th call. @returns how many were
/// struck
int kill_at_every(int stride) {
  for (int k = 1, tried = 0;; k += stride, ++tried) {
    CAPTURE(k);
    const auto run = fresh_run();
    const auto first = run_to_end(struck(run.start(), run.files().folder(), k, "kill"));
    if (first.status == 0)
      return tried;
    CAPTURE(first.err);
    REQUIRE(first.status == -SIGKILL);
    check_goes_on(run);
  }
}

} // namespace

TEST_CASE("killed at any call that changes its folder, a run is gone on with, and every group is trained once") {
  const int struck_calls = kill_at_every(long_sweep() ? 1 : 43);
  MESSAGE(struck_calls << " runs were killed");
  CHECK(struck_calls >= 5);
}

TEST_CASE("a call that fails ends no run but one that cannot begin, and that one says which file it was") {
  int failed_at_start = 0, k = 1;
  for (;; k += long_sweep() ? 1 : 61) {
    const auto how = k % 2 == 0 ? ENOSPC : EIO;
    CAPTURE(k);
    CAPTURE(how);
    const auto run = fresh_run();
    const auto command = struck(run.start(), run.files().folder(), k, std::to_string(how));
    const auto first = run_to_end(command);
    CAPTURE(first.err);
    if (first.status == 0) {
      check_each_group_once(run.files(), steps);
      if (first.err.find("struck\n") == std::string::npos)
        break; // the run had ended before its k-th call
    } else {
      ++failed_at_start;
      CHECK(first.status == 1);
      CHECK(run.files().steps() == 0);
      CHECK(first.err.find(run.files().folder().string()) != std::string::npos);
      check_goes_on(run);
    }
  }
  MESSAGE(failed_at_start << " of " << k << " calls kept a run from beginning");
}

} // namespace every_call_test
