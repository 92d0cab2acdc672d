#include "tests/actors/coordinator/router_world.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace group_router_episodes_test {

using namespace millrace;
using namespace millrace::tests;

namespace {

constexpr std::uint64_t game_node = 40, other_game_node = 41;

/// The rollout's answers are episodes with the role `game`.
struct playing_world : router_world {
  role_instance game{"game", 0, 1}, other_game{"game", 1, 1};

  static schedule::config schedule() {
    auto config = schedule::preset("synchronous");
    config.groups_per_step = 2;
    config.steps = 3;
    return config;
  }

  static group_graph graph() {
    auto graph = make_graph();
    graph.environments = {{"rollout", "game"}};
    return graph;
  }

  playing_world() : router_world(schedule(), graph()) {}

  void game_up(const role_instance& who, std::uint64_t node) {
    c.environment_up(who, node,
                     {.environment = handle<plays_episodes>(address(std::make_shared<int>(1))), .deadline_s = 5}, now);
  }

  std::ptrdiff_t has_done(const std::string& what) const {
    return std::count(effects.done.begin(), effects.done.end(), what);
  }
};

} // namespace

TEST_CASE("a group whose answers are episodes waits for an environment, and the groups are shared out") { // CO-8
  playing_world w;
  w.all_up();
  w.give_prompts();
  CHECK(w.effects.generating.empty());
  w.game_up(w.game, game_node);
  REQUIRE(w.effects.generating.size() == 2);
  CHECK(w.effects.generating[0].played.environment);
  CHECK(w.effects.generating[0].played.since == 1);
  CHECK(w.effects.generating[0].played.deadline_s == 5);
  w.generate(0);
  CHECK(w.has_done("end episodes of 0 on game/0") == 1);
  CHECK(w.has_done("end episodes of 1 on game/0") == 0);
}

TEST_CASE("two environments share the groups") { // CO-8
  playing_world w;
  w.game_up(w.game, game_node);
  w.game_up(w.other_game, other_game_node);
  w.all_up();
  w.give_prompts();
  w.generate(0);
  w.generate(1);
  CHECK(w.has_done("end episodes of 0 on game/0") + w.has_done("end episodes of 0 on game/1") == 1);
  CHECK(w.has_done("end episodes of 0 on game/0") != w.has_done("end episodes of 1 on game/0"));
}

TEST_CASE("an environment's death begins its groups anew elsewhere, and those that were generated stay") { // CO-8
  playing_world w;
  w.game_up(w.game, game_node);
  w.all_up();
  w.give_prompts();
  w.generate(0);
  w.effects.generating.clear();
  w.c.node_gone(game_node, w.now);
  CHECK(w.has_done("cancel 1") == 1);
  CHECK(w.effects.generating.empty()); // no environment is up
  w.game_up(w.other_game, other_game_node);
  REQUIRE(w.effects.generating.size() == 1);
  CHECK(w.effects.generating[0].group == 1);
  CHECK(w.effects.generating[0].attempt == 2);
  CHECK(w.effects.generating[0].played.since == 2);
  w.generate(1, 1); // of the first attempt: CO-4
  CHECK(w.has_done("end episodes of 1 on game/1") == 0);
  w.generate(1, 2);
  CHECK(w.has_done("end episodes of 1 on game/1") == 1);
  w.process(0);
  w.process(1, 2);
  CHECK(w.effects.fetching.size() == 2);
}

TEST_CASE("a generation that its environment failed begins anew, and what was sampled counts as lost") { // CO-8
  playing_world w;
  w.game_up(w.game, game_node);
  w.all_up();
  w.give_prompts();
  w.effects.generating.clear();
  w.c.generation_lost({.from = w.rollout, .group = 0, .attempt = 1, .tokens = 9, .why = "its environment: no power"},
                      w.now);
  CHECK(w.has_done("end episodes of 0 on game/0") == 1);
  REQUIRE(w.effects.generating.size() == 1);
  CHECK(w.effects.generating[0].attempt == 2);
  CHECK(w.c.scheduler().books().sums().lost == 9);
  w.c.generation_lost({.from = w.rollout, .group = 0, .attempt = 1, .tokens = 9, .why = "again"}, w.now); // CO-4
  CHECK(w.effects.generating.size() == 1);
}

} // namespace group_router_episodes_test
