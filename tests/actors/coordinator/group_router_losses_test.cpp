#include "tests/actors/coordinator/router_world.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace group_router_losses_test {

using namespace millrace;
using namespace millrace::tests;
using actors::group_router;

TEST_CASE("what a dead rollout was generating, and what only it held, is generated again elsewhere") { // CO-3
  router_world w;
  const role_instance other{"rollout", 1, 1};
  w.all_up();
  w.rollout_up(other, 11);
  w.flip();
  w.give_prompts();
  w.generate(0); // lies on the rollout's node, scored by nobody yet
  w.effects.generating.clear();
  w.c.node_gone(rollout_node, w.now);
  std::vector<std::uint64_t> again;
  for (const auto& g : w.effects.generating) {
    again.push_back(g.group);
    CHECK(g.attempt == 2);
    CHECK(g.seed == roles::group_seed(7, g.group));
  }
  std::sort(again.begin(), again.end());
  CHECK(again == std::vector<std::uint64_t>{0, 1});
  CHECK(w.effects.prompts.empty()); // the rows are remembered
}

TEST_CASE("a fetched group survives the death of every other process") { // CO-2
  router_world w;
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(0);
  w.score_and_fetch(1);
  w.c.node_gone(rollout_node, w.now);
  w.c.node_gone(verifier_node, w.now);
  w.train();
  CHECK(w.c.scheduler().at().consumed == 2);
}

TEST_CASE("work of a dead role goes to the next copy that is there, or waits for one") { // CO-1
  router_world w;
  w.all_up();
  w.give_prompts();
  w.generate(0);
  w.c.node_gone(verifier_node, w.now);
  CHECK(w.effects.processing.size() == 1);
  w.rules.incarnation = 2;
  w.c.adder_up(w.rules, 21);
  REQUIRE(w.effects.processing.size() == 2);
  CHECK(w.effects.processing[1].group == 0);
  w.process(0);
  CHECK(w.effects.fetching.size() == 1);
}

TEST_CASE("answers of an earlier attempt change nothing and are released") { // CO-4
  router_world w;
  w.all_up();
  w.give_prompts();
  w.c.node_gone(rollout_node, w.now);
  w.rollout.incarnation = 2;
  w.rollout_up(w.rollout, 12);
  w.flip();
  const auto before = w.effects.processing.size();
  w.generate(0, 1);
  CHECK(w.effects.processing.size() == before);
  CHECK(w.effects.released.size() == 1);
  w.generate(0, 2);
  CHECK(w.effects.processing.size() == before + 1);
}

TEST_CASE(
    "what a dead rollout had sent before it died changes nothing, though nobody generates the group yet") { // CO-4
  router_world w;
  w.all_up();
  w.give_prompts();
  w.c.node_gone(rollout_node, w.now);
  w.generate(0, 1);
  CHECK(w.effects.processing.empty());
  CHECK(w.effects.released.size() == 1);
  CHECK(w.c.scheduler().books().check() == "");
}

namespace {

/// Two groups a step, one step of lead: when version 1 is published, groups 2 and 3 are interrupted.
struct interrupted_world : router_world {
  static schedule::config schedule() {
    auto config = schedule::preset("areal");
    config.groups_per_step = 2;
    config.gate.depth = 1;
    config.steps = 3;
    config.faults.attempts = 2;
    return config;
  }

  interrupted_world() : router_world(schedule()) {
    all_up();
    give_prompts();
    REQUIRE(effects.generating.size() == 4);
    score_and_fetch(0);
    score_and_fetch(1);
    train();
    give_prompts();
    REQUIRE(effects.interrupting.size() == 2);
    CHECK(effects.interrupting[0].group == 2);
    effects.released.clear();
  }

  /// @returns the ticket of what it has
  ticket hand_over(std::uint64_t group, std::int64_t tokens, std::uint64_t owner = rollout_node) {
    const auto partial = tokens > 0 ? ticket_of(owner) : ticket{};
    group_interrupted what{rollout, group, 1, partial, {}};
    if (tokens > 0)
      what.tokens[0] = tokens;
    c.interrupted(what, now);
    return partial;
  }

  const generate_group& started_last(std::uint64_t group) {
    const auto found = std::find_if(effects.generating.rbegin(), effects.generating.rend(),
                                    [&](const auto& g) { return g.group == group; });
    REQUIRE(found != effects.generating.rend());
    return *found;
  }
};

} // namespace

TEST_CASE("an interrupted group goes on with what it has, which is released once the rollout has it") { // CO-6
  interrupted_world w;
  const auto partial = w.hand_over(2, 7);
  w.hand_over(3, 0);
  CHECK(w.started_last(2).attempt == 1); // until the rollout has flipped
  w.publish();
  w.give_prompts();
  CHECK(w.started_last(2).attempt == 2);
  CHECK(w.started_last(2).partial.id == partial.id);
  CHECK(w.started_last(2).seed == roles::group_seed(7, 2));
  CHECK(w.started_last(3).attempt == 2);
  CHECK(w.started_last(3).partial.id == 0); // had nothing
  CHECK(w.effects.released.empty());
  w.c.generation_accepted(2, 2);
  REQUIRE(w.effects.released.size() == 1);
  CHECK(w.effects.released[0].id == partial.id);
  w.c.generated({w.rollout, 2, 2, w.ticket_of(rollout_node), {{0, 7}, {1, 4}}, 0}, w.now);
  CHECK(w.c.scheduler().books().check() == "");
  CHECK(w.c.scheduler().at().finished == 1);
}

TEST_CASE(
    "if the process that holds what a group has dies first, the group starts again, and that counts") { // CO-3, CO-6
  interrupted_world w;
  const role_instance other{"rollout", 1, 1};
  w.hand_over(2, 7);
  w.hand_over(3, 0);
  SUBCASE("while nobody generates it") {
    w.rollout_up(other, 11);
    w.c.node_gone(rollout_node, w.now);
    w.publish();
    w.give_prompts();
    CHECK(w.started_last(2).attempt == 2);
  }
  SUBCASE("while another rollout pulls it") {
    w.publish();
    CHECK(w.started_last(2).partial.id != 0);
    w.c.generation_refused({2, 2}, {.why = "rollout/0: the begun answers are lost: node 10 is gone", .retryable = true},
                           w.now);
    w.give_prompts();
    CHECK(w.started_last(2).attempt == 3);
  }
  CHECK(w.started_last(2).partial.id == 0);
  CHECK(w.effects.released.size() == 1);
  CHECK(w.c.scheduler().books().check() == "");
  w.c.generation_refused({2, w.started_last(2).attempt}, {.why = "no answer", .retryable = true},
                         w.now); // the second of two
  CHECK(w.c.dropped_groups() == 1);
}

TEST_CASE("what a void attempt hands over is released, and changes nothing") { // CO-4
  interrupted_world w;
  w.generate(2); // it had ended already
  w.c.interrupted({w.rollout, 2, 1, w.ticket_of(rollout_node), {{0, 5}}}, w.now);
  CHECK(w.effects.released.size() == 1);
  CHECK(w.c.scheduler().at().finished == 1);
  w.c.interrupted({{"rollout", 0, 0}, 3, 1, w.ticket_of(rollout_node), {{0, 5}}}, w.now); // of an earlier life
  CHECK(w.effects.released.size() == 2);
  CHECK(w.c.scheduler().at().generating == 1);
}

TEST_CASE("a group whose prompt is not here yet is interrupted without asking anybody") {
  router_world w(interrupted_world::schedule());
  w.all_up();
  w.effects.prompts = {0, 1}; // those of 2 and 3 take their time
  w.give_prompts();
  w.score_and_fetch(0);
  w.score_and_fetch(1);
  w.train();
  CHECK(w.effects.interrupting.empty());
  CHECK(w.c.scheduler().at().generating == 0);
  w.publish();
  CHECK(w.c.scheduler().at().generating == 4);
}

TEST_CASE("a group that a role does not have in two reports is named and generated again; one whose answer came is "
          "not looked for") { // CO-7
  router_world w;
  w.all_up();
  w.give_prompts();
  w.generate(0);
  w.generate(1);
  w.process(1);
  w.effects.done.clear();
  const telemetry::in_flight_report says{"rules/0", 2, {}};
  w.now = 10;
  w.c.holds(verifier_node, says, w.now);
  REQUIRE(w.c.suspected().size() == 1);
  CHECK(telemetry::in_words(w.c.suspected()[0], 10)
        == "group 0 counts as in work on rules/0, which does not have it: its credit is held since 10 s");
  CHECK(w.effects.done.empty());
  w.c.holds(rollout_node, says, w.now); // of another process
  w.c.holds(verifier_node, {"rules/1", 2, {}}, w.now);
  CHECK(w.effects.done.empty());
  const auto released = w.effects.released.size();
  w.c.holds(verifier_node, says, w.now);
  REQUIRE(w.effects.done.size() == 2);
  CHECK(w.effects.done[0]
        == "complain: group 0 counts as in work on rules/0, which does not have it: its credit is held since 10 s; the "
           "attempt counts as lost");
  CHECK(w.effects.done[1] == "generate 0 on rollout/0");
  CHECK(w.effects.released.size() == released + 1);
  w.process(0); // too late
  CHECK(w.effects.fetching.size() == 1);
  w.generate(0, 2);
  w.process(0, 2);
  CHECK(w.effects.fetching.size() == 2);
}

TEST_CASE("a rollout that starts anew is not held against what its earlier life said") { // CO-7
  router_world w;
  w.all_up();
  w.give_prompts();
  w.c.holds(rollout_node, {"rollout/0", 2, {{0, 1}}}, w.now);
  REQUIRE(w.c.suspected().size() == 1);
  w.c.node_gone(rollout_node, w.now);
  w.rollout.incarnation = 2;
  w.rollout_up(w.rollout, 11);
  CHECK(w.c.suspected().empty());
  w.flip();
  w.c.holds(rollout_node, {"rollout/0", 2, {}}, w.now);
  w.c.holds(11, {"rollout/0", 0, {}}, w.now);
  w.c.holds(11, {"rollout/0", 0, {}}, w.now);
  CHECK(w.c.suspected().empty());
}

} // namespace group_router_losses_test
