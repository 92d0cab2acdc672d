#include "tests/tools/playing_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

namespace plan_episodes_test {

using namespace millrace::tests;

// Replies take most of a step, whatever else the machine does: three turns of 0.2 s.
TEST_CASE("plan plays episodes with the pipeline's own environment and predicts the pace of the run") {
  const playing_run playing(5);
  setenv("GAME_SLEEPS", "0.2", 1);
  const auto ask = playing.start({"--set", "roles.rollout.slots=8", "--set", "roles.rollout.open_episodes=16"});
  const auto ran = run_to_end(ask, 120);
  const auto planned = run_to_end(plan_of(ask), 120);
  unsetenv("GAME_SLEEPS");
  CAPTURE(ran.err);
  CAPTURE(planned.err);
  REQUIRE(ran.status == 0);
  REQUIRE(planned.status == 0);
  CHECK(planned.err.find("# game: 3.0 turns an episode, a reply after 2") != std::string::npos);
  CHECK(planned.err.find("turns and replies are those of 16 episodes, played here with game") != std::string::npos);
  const auto told = nlohmann::json::parse(planned.out);
  CHECK(told.at("waiting_episodes") == 16);
  const auto rows = playing.run.files().metrics();
  const auto measured_s = (rows.back().at("wall_s").get<double>() - rows.front().at("wall_s").get<double>()) / 4;
  CAPTURE(measured_s);
  CHECK(told.at("step_s").get<double>() > 0.6);
  CHECK(told.at("step_s").get<double>() == doctest::Approx(measured_s).epsilon(0.3));
}

TEST_CASE("plan takes turns, replies and what is observed from its costs, and says what waits") {
  const playing_run playing(4);
  const auto planned = run_to_end(command_line({"plan",    playing.file(),
                                                "--set",   "roles.rollout.environment=game",
                                                "--set",   "roles.game.max_turns=5",
                                                "--costs", "turns=4",
                                                "--costs", "reply_s=0.5",
                                                "--costs", "observed_tokens=10",
                                                "--costs", "mean_tokens=80",
                                                "--costs", "tokens_per_s=100",
                                                "--costs", "train_s=0",
                                                "--costs", "resume_token_s=0.001"}),
                                  60);
  CAPTURE(planned.err);
  REQUIRE(planned.status == 0);
  CHECK(planned.err.find("# game: 4.0 turns an episode, a reply after 500 ms (p50) with 10 observed tokens; at most 16 "
                         "episodes wait at once in a process, with ")
        != std::string::npos);
  CHECK(planned.err.find(" max_turns=5 ") != std::string::npos);
  // 80 tokens, 4 replies; of each three that 16 episodes read 10 tokens.
  CHECK(nlohmann::json::parse(planned.out).at("step_s").get<double>()
        == doctest::Approx(0.8 + 4 * 0.5 + 3 * 16 * 10 * 0.001));
}

namespace {

/// Bytes of a part, as the plan of memory has it.
std::int64_t planned(const tiny_run& run, const strings& sets, const std::string& role, const std::string& kind) {
  strings all{"--memory", "--json", "--set", "roles.rollout.slots=4", "--set", "schedule.groups_per_step=100"};
  for (const auto& set : sets)
    all.insert(all.end(), {"--set", set});
  const auto done = run_to_end(run.check(all), 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  const auto plan = nlohmann::json::parse(done.out).at("memory");
  for (const auto& part : plan.at("processes")[0].at("parts"))
    if (part.at("role") == role && part.at("kind") == kind)
      return part.at("bytes");
  FAIL("no " << kind << " is planned: " << done.out);
  return 0;
}

/// Of the rollout.
std::int64_t planned_cache(const tiny_run& run, const strings& sets) {
  return planned(run, sets, "rollout", "cache");
}

} // namespace

TEST_CASE("the plan of memory holds keys and values of every open episode, as far as the cache is not bounded") {
  const tiny_run alone({.max_new_tokens = 120});
  const auto slots = planned_cache(alone, {});
  const playing_run playing(4);
  const std::string game = "roles.rollout.environment=game", open = "roles.rollout.open_episodes=62";
  CHECK(planned_cache(playing.run, {game}) == 2 * slots); // a group more than slots
  CHECK(planned_cache(playing.run, {game, open}) == 16 * slots);
  CHECK(planned_cache(playing.run, {game, open, "roles.rollout.cache_bytes=\"300 KiB\""}) == 300 * 1024);
  const auto refused = run_to_end(alone.check({"--set", open}), 60);
  CHECK(refused.status == 1);
  CHECK(refused.err.find("roles.rollout.open_episodes: found it without an environment, want slots")
        != std::string::npos);
}

TEST_CASE("the plan of memory trains episodes beyond the context, and keeps keys and values of one context alone") {
  const auto activations = [](const tiny_run& run, const strings& sets) {
    return planned(run, sets, "learner", "activations");
  };
  const std::string game = "roles.rollout.environment=game", whole = "roles.learner.micro_batch_tokens=1000000",
                    context = "roles.rollout.max_new_tokens=512", longer = "roles.rollout.max_new_tokens=5120";
  const tiny_run alone;
  CHECK(activations(alone, {whole, longer}) == activations(alone, {whole, context}));
  const playing_run playing(4);
  CHECK(activations(playing.run, {game, whole, longer}) > 4 * activations(playing.run, {game, whole, context}));
  CHECK(planned_cache(playing.run, {game, longer}) == planned_cache(playing.run, {game, context}));
}

TEST_CASE("plan trains episodes of several segments, together longer than the context") {
  const playing_run playing(3);
  write_file(playing.folder / "game.py", R"py(
class Game:
    def reset(self, row):
        self.turns = 0
        return row["prompt"]

    def step(self, messages):
        self.turns += 1
        history = [{"role": "user", "content": str(self.turns) + " x" * 120}]
        return [{"role": "user", "content": "more"}], 0.5, self.turns == 4, history
)py");
  const auto planned =
      run_to_end(command_line({"plan", playing.file(), "--set", "roles.rollout.environment=game", "--set",
                               "roles.rollout.max_turn_tokens=6", "--set", "roles.rollout.max_new_tokens=3000"}),
                 60);
  CAPTURE(planned.err);
  CHECK(planned.status == 0);
  CHECK(planned.err.find("# game: 4.0 turns an episode") != std::string::npos);
}

} // namespace plan_episodes_test
