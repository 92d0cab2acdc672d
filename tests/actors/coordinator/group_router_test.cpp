#include "tests/actors/coordinator/router_world.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace group_router_test {

using namespace millrace;
using namespace millrace::tests;
using actors::group_router;

TEST_CASE("a group walks from prompt to policy, and its bundles are released once the policy holds it") { // CO-1, CO-2
  router_world w;
  w.all_up();
  w.give_prompts();
  REQUIRE(w.effects.generating.size() == 2);
  CHECK(w.effects.generating[0].answers == 4);
  w.generate(0);
  REQUIRE(w.effects.processing.size() == 1);
  CHECK(w.effects.generating[0].columns == router_world::prompt_ticket(0));
  REQUIRE(w.effects.processing[0].columns.size() == 2);
  CHECK(w.effects.processing[0].columns[0] == router_world::prompt_ticket(0));
  CHECK(w.effects.processing[0].columns[1].owner == rollout_node);
  CHECK(w.effects.fetching.empty());
  w.process(0);
  REQUIRE(w.effects.fetching.size() == 1);
  CHECK(w.effects.fetching[0].columns.size() == 3);
  CHECK(w.effects.released.empty());
  w.c.fetched({0, 1}, w.now);
  CHECK(w.effects.released.size() == 2);
  CHECK(!w.effects.has_released(router_world::prompt_ticket(0)));
}

TEST_CASE("a prompt's columns are kept for every attempt, and released once: when its group is trained, dropped, or "
          "not wanted any more") {
  router_world w;
  w.all_up();
  w.give_prompts();
  SUBCASE("trained") {
    w.score_and_fetch(0);
    w.score_and_fetch(1);
    CHECK(!w.effects.has_released(router_world::prompt_ticket(0)));
    w.train();
  }
  SUBCASE("lost with its rollout, generated again, then dropped") {
    w.c.node_gone(rollout_node, w.now);
    w.rollout.incarnation = 2;
    w.rollout_up(w.rollout, 12);
    w.flip();
    CHECK(w.effects.generating.back().columns == router_world::prompt_ticket(w.effects.generating.back().group));
    CHECK(!w.effects.has_released(router_world::prompt_ticket(0)));
    w.c.generation_refused({0, 2}, {.why = "a prompt of 9000 tokens"}, w.now);
  }
  SUBCASE("dropped where its columns are complained of") {
    w.generate(0);
    w.c.processed(w.rules, {.group = 0, .attempt = 1, .complaint = "no number here"}, w.now);
  }
  CHECK(w.effects.has_released(router_world::prompt_ticket(0)) == 1);
  w.c.prompt_arrived({.index = 0, .columns = router_world::prompt_ticket(0)}, w.now); // for a group that is gone
  CHECK(w.effects.has_released(router_world::prompt_ticket(0)) == 2);
}

TEST_CASE("where ranks share out groups, bundles stay with their makers until the group is trained, and go once") {
  auto schedule = schedule::preset("synchronous");
  schedule.groups_per_step = 2;
  schedule.steps = 3;
  auto graph = router_world::make_graph();
  graph.columns_stay = true;
  router_world w(schedule, graph);
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(0);
  w.score_and_fetch(1);
  CHECK(w.effects.released.empty());
  w.c.node_gone(verifier_node, w.now); // the trainer has the groups
  REQUIRE(w.effects.training.size() == 1);
  CHECK(w.effects.training[0].groups == std::vector<std::uint64_t>{0, 1});
  w.train();
  CHECK(w.effects.released.size() == 6);
  for (const auto& ticket : w.effects.released)
    CHECK(w.effects.has_released(ticket) == 1);
  CHECK(w.c.scheduler().books().check() == "");
}

TEST_CASE("a group that its trainer cannot train is dropped by name, not asked for again") {
  router_world w;
  w.all_up();
  w.give_prompts();
  w.generate(0);
  w.process(0);
  w.c.fetched({.group = 0, .attempt = 1, .complaint = "1 of 4 answers have a score"}, w.now);
  CHECK(w.c.last_drop().find("group 0 dropped: ") != std::string::npos);
  CHECK(w.c.last_drop().find("1 of 4 answers have a score") != std::string::npos);
  CHECK(w.effects.has_released(router_world::prompt_ticket(0)) == 1);
  CHECK(w.c.scheduler().books().check() == "");
}

TEST_CASE("a step is trained, its version published, and the next groups begin under it") {
  router_world w;
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(1);
  w.score_and_fetch(0);
  REQUIRE(w.effects.training.size() == 1);
  CHECK(w.effects.training[0].groups == std::vector<std::uint64_t>{0, 1});
  CHECK(w.effects.training[0].step == 1);
  CHECK(w.effects.seen.back().training == 2);
  CHECK(w.effects.seen.back().generating == 0);
  w.train();
  CHECK(w.effects.published == std::vector<std::uint32_t>{0, 1});
  w.publish();
  w.give_prompts();
  CHECK(w.effects.generating.size() == 4);
  CHECK(w.c.scheduler().books().check() == "");
}

TEST_CASE("the seed of a group is the same at every attempt and differs between groups") {
  CHECK(roles::group_seed(1, 5) == roles::group_seed(1, 5));
  CHECK(roles::group_seed(1, 5) != roles::group_seed(1, 6));
  CHECK(roles::group_seed(1, 5) != roles::group_seed(2, 5));
}

TEST_CASE("a prompt that does not fit is dropped with its reason and its place filled by the next") {
  router_world w;
  w.all_up();
  w.give_prompts();
  w.c.generation_refused({0, 1}, {.why = "a prompt of 9000 tokens", .retryable = false}, w.now);
  w.give_prompts();
  CHECK(w.effects.generating.back().group == 2);
  CHECK(w.c.dropped_groups() == 1);
  CHECK(std::find(w.effects.done.begin(), w.effects.done.end(), "complain: group 0 dropped: a prompt of 9000 tokens")
        != w.effects.done.end());
}

TEST_CASE("stopping interrupts the step, keeps its groups for the checkpoint and finishes") {
  router_world w;
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(0);
  w.score_and_fetch(1);
  w.c.stop(w.now, group_router::haste::some);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "interrupt") == 1);
  batch_report report;
  report.step = 1;
  report.interrupted = true;
  w.c.trained(report, w.now);
  REQUIRE(w.effects.checkpoints == std::vector<std::uint32_t>{0});
  w.c.checkpointed(0, w.now);
  CHECK(w.effects.finished);
  CHECK(w.c.scheduler().at().consumed == 0);
}

TEST_CASE("a step in parts is trained as its groups come, and makes one version") {
  router_world w(2, {}, 0, "streaming");
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(1);
  REQUIRE(w.effects.training.size() == 1); // the other group is still generated
  CHECK(w.effects.training[0].groups == std::vector<std::uint64_t>{1});
  CHECK(w.effects.training[0].part == 0);
  CHECK(!w.effects.training[0].ends_step);
  w.train();
  CHECK(w.effects.published == std::vector<std::uint32_t>{0});
  w.score_and_fetch(0);
  REQUIRE(w.effects.training.size() == 2);
  CHECK(w.effects.training[1].step == 1);
  CHECK(w.effects.training[1].version == 0);
  CHECK(w.effects.training[1].part == 1);
  CHECK(w.effects.training[1].ends_step);
  w.train();
  CHECK(w.effects.published == std::vector<std::uint32_t>{0, 1});
  CHECK(w.c.scheduler().books().check() == "");
}

TEST_CASE("stopping within a step keeps the parts that are trained: the checkpoint is of the step's start and says how "
          "many") {
  router_world w(2, {}, 0, "streaming");
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(0);
  w.train();
  w.score_and_fetch(1);
  w.c.stop(w.now, group_router::haste::some);
  batch_report report;
  report.step = 1;
  report.part = 1;
  report.interrupted = true;
  w.c.trained(report, w.now);
  REQUIRE(w.effects.checkpoints == std::vector<std::uint32_t>{0});
  CHECK(w.effects.training.size() == 2);
  CHECK(w.c.scheduler().at().part == 1);
  CHECK(w.c.scheduler().at().consumed == 1);
  w.c.checkpointed(0, w.now);
  CHECK(w.effects.finished);
}

TEST_CASE("the learner is told that a step is over whose other groups were lost, before it writes its checkpoint") {
  router_world w(2, {}, 0, "streaming");
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(0);
  w.train();
  w.c.generation_refused({1, 1}, {.why = "too long", .retryable = false}, w.now);
  for (const auto index : std::exchange(w.effects.prompts, {})) {
    w.c.prompt_arrived({.index = index, .exhausted = true}, w.now);
  }
  REQUIRE(w.effects.training.size() == 2);
  CHECK(w.effects.training[1].groups.empty());
  CHECK(w.effects.training[1].part == 1);
  CHECK(w.effects.training[1].ends_step);
  CHECK(w.effects.checkpoints == std::vector<std::uint32_t>{1});
  w.train();
  w.c.checkpointed(1, w.now);
  CHECK(w.effects.finished);
}

TEST_CASE("prompts that end finish the run with a smaller last batch") {
  router_world w;
  w.all_up();
  for (const auto index : std::exchange(w.effects.prompts, {})) {
    w.c.prompt_arrived({.index = index, .exhausted = index == 1}, w.now);
  }
  w.score_and_fetch(0);
  REQUIRE(w.effects.training.size() == 1);
  CHECK(w.effects.training[0].groups == std::vector<std::uint64_t>{0});
  w.train();
  REQUIRE(w.effects.checkpoints.size() == 1);
  w.c.checkpointed(1, w.now);
  CHECK(w.effects.finished);
}

TEST_CASE("a fetched group whose rewards are all equal is told to the scheduler as such") {
  router_world w(3, {}, 4);
  w.all_up();
  w.give_prompts();
  w.generate(0);
  w.process(0);
  w.c.fetched({0, 1, true}, w.now);
  CHECK(w.c.scheduler().books().dropped(schedule::drop_reason::zero_variance).groups == 1);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "forget 0") == 1);
  CHECK(w.effects.prompts == std::vector<std::uint64_t>{2}); // the next prompt takes its place
}

TEST_CASE("a group that waits for its columns says who has it: the copy at work, the role without one, the policy") {
  router_world w;
  w.all_up();
  w.give_prompts();
  CHECK(w.c.working_on(0).empty()); // it is generated: the scheduler's own wait
  w.generate(0);
  CHECK(w.c.working_on(0) == std::vector<std::string>{"rules/0"});
  w.c.node_gone(verifier_node, w.now);
  CHECK(w.c.working_on(0) == std::vector<std::string>{"rules"});
}

TEST_CASE("a rollout begins as many answers as the schedule says, and what it leaves out is surplus in the books") {
  auto config = schedule::preset("synchronous");
  config.groups_per_step = 2;
  config.steps = 2;
  config.tail.oversample_attempts = 1.25;
  router_world w(config);
  w.all_up();
  w.give_prompts();
  REQUIRE(w.effects.generating.size() == 2);
  CHECK(w.effects.generating[0].answers == 4);
  CHECK(w.effects.generating[0].started == 5);
  group_generated made{w.rollout, 0, 1, w.ticket_of(rollout_node), {{0, 40}}, 0, 0, {{0, 40}}, 7};
  w.c.generated(made, w.now);
  CHECK(w.c.scheduler().books().dropped(schedule::drop_reason::surplus).tokens == 7);
  CHECK(w.c.scheduler().books().sums().generated == 47);
}

} // namespace group_router_test
