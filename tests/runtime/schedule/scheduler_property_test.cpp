#include "runtime/schedule/saved_state.hpp"
#include "tests/runtime/schedule/random_config.hpp"
#include "tests/runtime/schedule/world.hpp"
#include "tests/support/setting.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>

namespace scheduler_property_test {

using namespace millrace;
using namespace millrace::schedule;

namespace {

using set_up = std::function<void(world&)>;

struct random_run {
  config settings;
  set_up prepare;
  std::vector<world::move> moves;
  std::string broken; ///< the invariant, or empty
};

/// Everything about one run by its seed.
random_run play(std::uint64_t seed, const set_up& more = {}) {
  std::mt19937_64 random(seed);
  random_run run;
  run.settings = random_config(random);
  const bool ends = random() % 10 < 3;
  const auto prompts = 1 + random() % (run.settings.groups_per_step * run.settings.steps + 5);
  const auto stop_after = random() % 7 == 0 ? 1 + random() % 300 : ~0ull;
  const bool harsh = random() % 2 == 0;
  run.prepare = [=](world& it) {
    it.harsh = harsh;
    it.stop_after = stop_after;
    if (ends)
      it.prompts = prompts;
    if (more)
      more(it);
  };
  try {
    world it(run.settings);
    run.prepare(it);
    while (!it.finished()) {
      it.check_alive();
      auto next = it.propose(random);
      if (!next)
        continue;
      run.moves.push_back(*std::move(next));
      it.play(run.moves.back());
      if (run.moves.size() > 200'000)
        throw std::runtime_error("the run does not come to an end");
    }
    it.check_end();
  } catch (const std::exception& wrong) {
    run.broken = wrong.what();
  }
  return run;
}

/// What breaks when these moves happen, those that cannot happen left out; and the moves that did.
std::string replay(const random_run& run, const std::vector<world::move>& moves,
                   std::vector<world::move>* happened = nullptr) {
  try {
    world it(run.settings);
    run.prepare(it);
    for (const auto& one : moves) {
      if (happened)
        happened->push_back(one);
      if (!it.play(one) && happened)
        happened->pop_back();
      it.check_alive();
    }
  } catch (const std::exception& wrong) {
    return wrong.what();
  }
  return {};
}

/// Leaves out moves, in ever smaller pieces, as long as the same invariant breaks (Zeller and Hildebrandt 2002, ddmin).
std::vector<world::move> shrunk(const random_run& run) {
  const auto still = [&](const std::vector<world::move>& moves) {
    const auto broken = replay(run, moves);
    return broken.substr(0, 12) == run.broken.substr(0, 12);
  };
  auto moves = run.moves;
  for (auto piece = std::max<std::size_t>(1, moves.size() / 2);; piece /= 2) {
    for (std::size_t at = 0; at < moves.size();) {
      auto fewer = moves;
      const auto first = fewer.begin() + static_cast<std::ptrdiff_t>(at);
      fewer.erase(first, first + static_cast<std::ptrdiff_t>(std::min(piece, moves.size() - at)));
      if (still(fewer))
        moves = std::move(fewer);
      else
        at += piece;
    }
    if (piece == 1)
      break;
  }
  std::vector<world::move> happened;
  replay(run, moves, &happened);
  return happened;
}

std::string report(std::uint64_t seed, const random_run& run) {
  const auto moves = shrunk(run);
  auto text = "MILLRACE_SCHEDULE_SEED=" + std::to_string(seed) + ": " + replay(run, moves) + "\n"
              + in_words(run.settings) + "\n";
  for (const auto& one : moves)
    text += "  " + one + "\n";
  return text;
}

} // namespace

// S-1 to S-6, for every key of the language. MILLRACE_SCHEDULE_EVENTS=100000000 for the long mode,
// MILLRACE_SCHEDULE_SEED=n to play one run again.
TEST_CASE("scheduler keeps its invariants under random schedules, events, deaths, restarts and stops") {
  const auto wanted = tests::setting("MILLRACE_SCHEDULE_EVENTS", 1'000'000);
  const auto single = tests::setting("MILLRACE_SCHEDULE_SEED", 0);
  std::uint64_t events = 0;
  for (auto seed = single ? single : 1; events < wanted && (!single || seed == single); ++seed) {
    const auto run = play(seed);
    events += run.moves.size();
    if (!run.broken.empty())
      FAIL(report(seed, run));
  }
  MESSAGE(events << " random events");
  CHECK(events > 0);
}

TEST_CASE("a broken invariant is reported with the few events that break it, and they replay") {
  std::uint64_t seed = 0;
  random_run run;
  // An invariant that is wrong on purpose.
  do
    run = play(++seed, [](world& it) { it.never_train = {5}; });
  while (run.broken.find("trained group 5") == std::string::npos || run.moves.size() < 100);
  const auto moves = shrunk(run);
  CHECK(moves.size() < run.moves.size());
  CHECK(moves.size() <= 60);
  CHECK(replay(run, moves) == "trained group 5");
  for (std::size_t i = 0; i < moves.size(); ++i) {
    auto without = moves;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
    CHECK(replay(run, without) != "trained group 5");
  }
}

} // namespace scheduler_property_test
