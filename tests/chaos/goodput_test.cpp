#include "tests/chaos/chaos.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <set>

namespace goodput_test {

/// How much a run still trains while its rollouts are killed again and again.

using namespace millrace::tests;
using seconds = std::chrono::duration<double>;
using clk = std::chrono::steady_clock;

namespace {

constexpr double between_kills_s = 2;

struct harvest {
  std::size_t steps = 0; ///< trained within the time
  int kills = 0;
  std::string err;
};

/// Trains for `for_s` seconds after the second step. @param kills whether a rollout is killed every two seconds
harvest train_for(double for_s, bool kills) {
  const tiny_run run({.steps = 1'000'000, .preset = "bounded", .max_new_tokens = 64});
  running_command running(run.start(placed_apart(false)));
  REQUIRE(reaches(running, run.files(), 2));
  const auto before = run.files().steps();
  const auto start = clk::now();
  auto next_kill = start + seconds(between_kills_s);
  harvest result;
  wait_until(
      [&] {
        if (kills && clk::now() >= next_kill) {
          next_kill += std::chrono::duration_cast<clk::duration>(seconds(between_kills_s));
          const auto victim = run.files().process_of(result.kills % 2 == 0 ? "rollout/0" : "rollout/1");
          result.kills += victim > 0 && is_running(victim) && ::kill(victim, SIGKILL) == 0 ? 1 : 0;
        }
        return running.ended().has_value() || clk::now() - start >= seconds(for_s);
      },
      for_s + 10);
  result.steps = run.files().steps() - before;
  result.err = running.err();
  CAPTURE(result.err);
  CHECK_FALSE(running.ended());
  running.signal(SIGTERM);
  CHECK(running.wait(30).status == 3); // stopped by a signal, with a checkpoint
  std::set<std::uint64_t> once;
  std::size_t trained = 0;
  for (const auto& [step, groups] : run.files().trained_groups()) {
    trained += groups.size();
    once.insert(groups.begin(), groups.end());
  }
  CHECK(once.size() == trained);
  return result;
}

} // namespace

TEST_CASE("a kill every two seconds does not end a run whose other rollouts work, and costs a part of its speed") {
  const double for_s = long_sweep() ? 600 : 6;
  const auto alone = train_for(long_sweep() ? 60 : for_s, false);
  const auto killed = train_for(for_s, true);
  const double alone_rate = static_cast<double>(alone.steps) / (long_sweep() ? 60 : for_s);
  const double killed_rate = static_cast<double>(killed.steps) / for_s;
  MESSAGE(killed.kills << " kills in " << for_s << " s: " << killed_rate << " steps/s of " << alone_rate << ": "
                       << killed_rate / alone_rate);
  CHECK(killed.kills >= static_cast<int>(for_s / between_kills_s / 2));
  CHECK(killed_rate > (long_sweep() ? 0.8 : 0.4) * alone_rate); // a few seconds of a busy machine say little
}

} // namespace goodput_test
