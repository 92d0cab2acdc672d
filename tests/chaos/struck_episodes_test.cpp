#include "runtime/telemetry/trajectories.hpp"
#include "tests/chaos/chaos.hpp"
#include "tests/tools/playing_run.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <cstdlib>
#include <random>
#include <sstream>

namespace struck_episodes_test {

/// Runs whose environment, rollouts and verifier are killed in the middle of episodes.

using namespace millrace;
using namespace millrace::tests;

namespace {

constexpr int steps = 30;

/// All tokens of the answers that were trained, with those that the environment said.
std::int64_t tokens_of_answers(const run_on_disk& files) {
  std::int64_t tokens = 0;
  for (const auto& name : names_in(files.folder())) {
    if (!name.starts_with("trajectories-"))
      continue;
    std::istringstream rows(telemetry::read_trajectories(files.folder() / name));
    for (std::string row; std::getline(rows, row);) {
      const auto group = nlohmann::json::parse(row);
      for (const auto& answer : group.at("answers"))
        tokens += answer.at("tokens").get<std::int64_t>();
    }
  }
  return tokens;
}

std::int64_t observed_tokens(const run_on_disk& files) {
  double observed = 0;
  for (const auto& row : files.metrics())
    observed += row.value("tokens/observed", 0.0);
  return static_cast<std::int64_t>(observed);
}

/// One run under blows. @returns how many processes were killed
int try_seed(std::uint64_t seed) {
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const char* const presets[] = {"synchronous", "bounded", "areal", "april"};
  const playing_run playing(steps, presets[seed % 4]);
  const auto files = playing.run.files();
  const char* const granularities[] = {"token", "turn"};
  const bool cuts = seed % 4 >= 2;
  auto how = playing_run::placed();
  how.insert(how.end(), {"--set", "placement.rules.processes=1", "--set", "schedule.faults.attempts=100", "--set",
                         "run.peer_timeout_ms=4000", "--set",
                         std::string("schedule.interrupt.granularity=") + granularities[cuts ? seed / 4 % 2 : 0]});
  setenv("GAME_SLEEPS", "0.02", 1); // at any moment episodes wait for a reply
  setenv("GAME_FORGETS", "0.4", 1);
  running_command running(playing.start(how));
  unsetenv("GAME_SLEEPS");
  unsetenv("GAME_FORGETS");
  int kills = 0;
  for (std::size_t next = 1; next + 2 < steps; next = files.steps() + 1 + random() % 4) {
    if (!reaches(running, files, next, 60))
      break;
    const char* const instances[] = {"game/0", "rollout/0", "rollout/1", "rules/0"};
    const std::string instance = instances[random() % 4];
    pid_t victim = 0;
    wait_until([&] { return is_running(victim = files.process_of(instance)) || running.ended(); }, 20);
    kills += victim > 0 && kill(victim, SIGKILL) == 0;
  }
  const auto end = running.wait(120);
  CAPTURE(running.err());
  CHECK(end.status == 0);
  check_books(files, steps);
  CHECK(observed_tokens(files) > 0);
  double segments = 0;
  for (const auto& row : files.metrics())
    segments = std::max(segments, row.value("episodes/segments", 0.0));
  CHECK(segments > 1);
  CHECK(tokens_of_answers(files)
        == files.status().at("ledger").at("trained").get<std::int64_t>() + observed_tokens(files));
  return kills;
}

} // namespace

TEST_CASE(
    "environments, rollouts and verifiers killed in mid-episode: nothing lost, nothing twice, the ledger closes") {
  const int wanted = long_sweep() ? 100 : 8;
  int kills = 0;
  std::uint64_t seed = 1;
  for (; kills < wanted && seed <= 100; ++seed)
    kills += try_seed(seed);
  CHECK(kills >= wanted);
  MESSAGE(kills << " processes killed in " << seed - 1 << " runs");
}

} // namespace struck_episodes_test
