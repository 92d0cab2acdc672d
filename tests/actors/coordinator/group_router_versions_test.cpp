#include "runtime/columns/weights_bundle.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/roles/published_versions.hpp"
#include "runtime/roles/rollout_role.hpp"
#include "tests/actors/coordinator/router_world.hpp"
#include "tests/runtime/roles/ask.hpp"
#include "tests/runtime/roles/fixture.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace group_router_versions_test {

using namespace millrace;
using namespace millrace::tests;
using actors::group_graph;
using actors::group_router;

TEST_CASE("a rollout that cannot take a version is sent it again, and the third refusal fails the run") {
  router_world w;
  w.leader_up();
  w.rollout_up(w.rollout, rollout_node);
  w.c.published({0, w.ticket_of(policy_node), 0});
  CHECK(w.effects.sent.size() == 1);
  w.c.weights_failed(w.rollout, 0, "no answer");
  w.c.weights_failed(w.rollout, 0, "no answer");
  CHECK(w.effects.sent.size() == 3);
  CHECK(w.effects.failure.empty());
  w.c.weights_failed(w.rollout, 0, "wrong shape");
  CHECK(w.effects.sent.size() == 3);
  CHECK(w.effects.failure == "rollout/0 could not take version 0 three times, the last one: wrong shape");
}

TEST_CASE("a newest version that is not published ends the run, since no other one comes; an older one does not") {
  router_world w;
  w.leader_up();
  w.rollout_up(w.rollout, rollout_node);
  REQUIRE(w.effects.published.back() == 0);
  w.c.publishing_failed(7, "nobody waits for it");
  CHECK(w.effects.failure.empty());
  w.c.publishing_failed(0, "memory ran out");
  CHECK(w.effects.failure == "version 0 was not published: memory ran out");
}

TEST_CASE("a rollout that pulls a version too late, when its weights are gone, is sent the next one and goes on") {
  const auto p = std::make_shared<const pipeline::pipeline>(tiny_pipeline());
  const auto data = data_plane_of(policy_node);
  const auto weights = model::load_checkpoint(tiny_model()).parameters;
  REQUIRE(roles::versions_kept(*p) == 1);
  roles::published_versions versions(data, 1);
  const auto ended = std::make_shared<watched<std::vector<group_generated>>>();
  roles::role_events events;
  events.generated = [ended](group_generated what) { ended->change([&](auto& all) { all.push_back(what); }); };
  const role_instance late{"rollout", 1, 1};
  auto role = std::make_unique<roles::rollout_role>(
      roles::role_setup{.pipeline = p, .who = late, .data = data, .events = events},
      std::get<pipeline::rollout_table>(p->at("rollout").options));

  router_world w;
  w.c.adder_up(w.rules, verifier_node);
  w.leader_up();
  w.rollout_up(w.rollout, rollout_node);
  w.rollout_up(late, 11);
  const auto publish = [&](std::uint32_t version) {
    REQUIRE(w.effects.published.back() == version);
    w.effects.sent.clear();
    versions.make_room();
    w.c.published(
        {.version = version, .parameters = versions.publish(version, columns::bundle_of(weights)), .copy_s = 0});
    REQUIRE(w.effects.sent.size() == 2);
    const auto& [who, ask] = w.effects.sent[w.effects.sent[0].first == late ? 0 : 1];
    CHECK(ask.version == version);
    return ask;
  };
  const auto first = publish(0);
  w.c.weights_are_live(w.rollout, 0, 0);
  w.give_prompts();
  for (const std::uint64_t group : {0, 1})
    w.score_and_fetch(group);
  w.train();
  const auto next = publish(1); // the first version goes for it
  const auto [nothing, why] = ask(*role, &roles::rollout_role::take, first);
  CHECK(why.find("the bundle was released") != std::string::npos);
  w.effects.done.clear();
  w.effects.sent.clear();
  w.c.weights_failed(late, first.version, why);
  CHECK(w.effects.done.empty());
  CHECK(w.effects.sent.empty());
  CHECK(w.effects.failure.empty());

  const auto [live, no_error] = ask(*role, &roles::rollout_role::take, next);
  CHECK(no_error.empty());
  w.c.weights_are_live(late, live.version, 0);
  w.c.weights_are_live(w.rollout, 1, 0);
  w.give_prompts();
  const auto on_late = std::ranges::find_if(w.effects.done, [](const auto& line) {
    return line.starts_with("generate ") && line.ends_with(" on rollout/1");
  });
  REQUIRE(on_late != w.effects.done.end());
  auto group = *std::ranges::find_if(w.effects.generating, [&](const auto& one) {
    return *on_late == "generate " + std::to_string(one.group) + " on rollout/1";
  });
  group.columns = data->publish(prompt_columns("What is 1 plus 2?"));
  CHECK(ask(*role, &roles::rollout_role::generate, group).second.empty());
  REQUIRE(ended->wait([](const auto& all) { return !all.empty(); }));
  CHECK(ended->get().front().tokens.contains(1));
  CHECK(ended->get().front().tokens.size() == 1);
  role.reset();
  CHECK(eventually([&] { return data.use_count() == 2; })); // this and `versions`: its own thread must not be the last
}

namespace {

/// A policy and two rollouts of one place each that were sent their first weights.
struct two_rollouts {
  recorded_effects effects;
  group_router c;
  role_instance first{"rollout", 0, 1}, second{"rollout", 1, 1};

  explicit two_rollouts(const schedule::config& config, group_graph graph = router_world::make_graph())
      : c(std::move(graph), schedule::scheduler(config), 7, effects) {
    c.leader_up(policy_node);
    c.generator_up(first, rollout_node, {.capacity_groups = 1}, 0);
    c.generator_up(second, 11, {.capacity_groups = 1}, 0);
    ticket weights;
    weights.owner = policy_node;
    weights.id = 1;
    c.published({effects.published.back(), weights, 0});
  }
};

} // namespace

TEST_CASE("a group that takes longer than its deadline is cancelled where it runs and generated elsewhere") {
  auto config = schedule::preset("synchronous");
  config.groups_per_step = 1;
  config.steps = 2;
  config.faults.call_deadline_s = 30;
  two_rollouts here(config);
  auto& [effects, c, first, second] = here;
  for (const auto& [who, sent] : std::exchange(effects.sent, {}))
    c.weights_are_live(who, sent.version, 0);
  REQUIRE(c.scheduler().at().generating == 1);
  c.look_for_overdue(30);
  CHECK(c.scheduler().books().sums().lost == 0);
  CHECK(std::ranges::count(effects.done, "cancel 0") == 0);
  effects.done.clear();
  c.look_for_overdue(31);
  REQUIRE(!effects.done.empty());
  CHECK(effects.done.front() == "complain: group 0 took longer than schedule.faults.call_deadline_s");
  CHECK(c.scheduler().at().generating == 1);
}

TEST_CASE("a rollout that does not take its weights in time is named, sent them again and left out") {
  auto config = schedule::preset("nemo_ready_first");
  config.groups_per_step = 1;
  config.steps = 9;
  config.publish.deadline_s = 30;
  auto graph = router_world::make_graph();
  graph.flips_in_flight = true;
  two_rollouts here(config, graph);
  auto& [effects, c, first, second] = here;
  REQUIRE(effects.sent.size() == 2);
  c.weights_are_live(first, 0, 1);
  effects.sent.clear();
  effects.done.clear();
  c.look_for_overdue(30);
  CHECK(effects.done.empty());
  c.look_for_overdue(31);
  CHECK(effects.done
        == std::vector<std::string>{
            "complain: rollout/1 did not run version 0 within schedule.publish.deadline_s: the weights are sent "
            "again, and the other rollouts go on without it"});
  REQUIRE(effects.sent.size() == 1);
  CHECK(effects.sent[0].first == second);
  CHECK(effects.sent[0].second.version == 0);
  CHECK(effects.sent[0].second.in_flight);
  c.look_for_overdue(99);
  CHECK(effects.done.size() == 1);
}

TEST_CASE("once all rollouts sample from a version its bytes are let go, and a rollout that comes up later has it "
          "published again") {
  auto config = schedule::preset("synchronous");
  config.groups_per_step = 1;
  config.steps = 2;
  auto graph = router_world::make_graph();
  graph.instances = 2;
  two_rollouts here(config, graph);
  auto& [effects, c, first, second] = here;
  const auto let_go = [&] { return std::count(effects.done.begin(), effects.done.end(), "all have 0"); };
  c.weights_are_live(first, 0, 1);
  CHECK(let_go() == 0);
  c.weights_are_live(second, 0, 1);
  CHECK(let_go() == 1);
  CHECK(effects.published == std::vector<std::uint32_t>{0});

  c.node_gone(11, 2);
  const role_instance again{"rollout", 1, 2};
  effects.sent.clear();
  c.generator_up(again, 12, {.capacity_groups = 1}, 3);
  CHECK(effects.published == std::vector<std::uint32_t>{0, 0});
  CHECK(effects.sent.empty());
  ticket weights;
  weights.owner = policy_node;
  weights.id = 2;
  c.published({0, weights, 0});
  REQUIRE(effects.sent.size() == 1);
  CHECK(effects.sent[0].first == again);
  CHECK((effects.sent[0].second.parameters == weight_shares(weights)));
  CHECK(let_go() == 1);
  c.weights_are_live(again, 0, 4);
  CHECK(let_go() == 2);
}

TEST_CASE("while a rollout is missing, or where the policy may be versions ahead, the newest version stays") {
  for (const std::uint32_t publish_every : {1u, 2u}) {
    auto config = schedule::preset(publish_every == 1 ? "synchronous" : "bounded");
    config.groups_per_step = 1;
    config.steps = 2;
    config.clock.publish_every = publish_every;
    if (publish_every > 1)
      config.gate.depth = publish_every;
    auto graph = router_world::make_graph();
    graph.instances = publish_every == 1 ? 3 : 2;
    two_rollouts here(config, graph);
    auto& [effects, c, first, second] = here;
    c.weights_are_live(first, 0, 1);
    c.weights_are_live(second, 0, 1);
    CHECK(std::count(effects.done.begin(), effects.done.end(), "all have 0") == 0);
    effects.sent.clear();
    c.generator_up({"rollout", 2, 1}, 12, {.capacity_groups = 1}, 3);
    CHECK(effects.published == std::vector<std::uint32_t>{0});
    CHECK(effects.sent.size() == 1);
  }
}

TEST_CASE("where no rollout takes weights, what stands in its place hears of versions once there is a policy, and "
          "nothing is published") {
  recorded_effects effects;
  auto graph = router_world::make_graph();
  graph.publishes = false;
  group_router c(graph, router_world::make_scheduler(3, 0), 7, effects);
  const role_instance rows{"rollout", 0, 1};
  c.generator_up(rows, rollout_node, {.capacity_groups = 8}, 0);
  CHECK(effects.sent.empty()); // rows that are written now could not be fetched
  c.leader_up(policy_node);
  CHECK(effects.published.empty());
  REQUIRE(effects.sent.size() == 1);
  CHECK(effects.sent[0].second.version == 0);
  CHECK(effects.sent[0].second.parameters.tickets.empty());
  CHECK(effects.generating.empty());
  c.weights_are_live(rows, 0, 0);
  CHECK_FALSE(effects.prompts.empty());
}

TEST_CASE(
    "an evaluation gets its version before the next step is trained, and the schedule goes on without it") { // CO-5
  router_world w(2, {{"held_out", 1, true}});
  const role_instance held_out{"held_out", 0, 1};
  w.all_up();
  w.c.evaluation_up(held_out, 40);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "hold 0") == 1);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "evaluate 0 on held_out/0") == 1);
  w.give_prompts();
  w.score_and_fetch(0);
  w.score_and_fetch(1);
  w.train();
  CHECK(w.effects.published.back() == 1); // asked once, by the evaluation; the rollouts get the same
  CHECK(std::count(w.effects.published.begin(), w.effects.published.end(), 1u) == 1);
  w.publish();
  w.give_prompts();
  w.c.evaluated(held_out, 0);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "let go of 0") == 1);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "evaluate 1 on held_out/0") == 1);
  w.score_and_fetch(2);
  w.score_and_fetch(3);
  w.train();
  w.c.checkpointed(2, w.now);
  CHECK(w.effects.published.back() == 2); // the last version, which no rollout needs
  CHECK_FALSE(w.effects.finished);        // the end waits
  w.publish();
  w.c.evaluated(held_out, 1);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "let go of 1") == 1);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "evaluate 2 on held_out/0") == 1);
  CHECK_FALSE(w.effects.finished);
  w.c.evaluated(held_out, 2);
  CHECK(w.effects.finished);
}

TEST_CASE("the version that rollouts run is kept while newer ones are evaluated, until they are to get another") {
  auto config = schedule::preset("bounded");
  config.groups_per_step = 2;
  config.steps = 9;
  config.clock.publish_every = 3;
  config.gate.depth = 3;
  router_world w(config, {{"held_out", 1, false}});
  w.all_up();
  w.c.evaluation_up({"held_out", 0, 1}, 40);
  const auto told = [&](const std::string& what) {
    return std::count(w.effects.done.begin(), w.effects.done.end(), what);
  };
  std::uint64_t group = 0;
  const auto train_next = [&] {
    w.give_prompts();
    for (const auto last = group + 2; group < last; ++group)
      w.score_and_fetch(group);
    w.effects.done.clear();
    w.train();
  };
  train_next();
  CHECK(w.effects.published.back() == 1); // for the evaluation alone
  CHECK(std::ranges::find(w.effects.done, "hold 0") < std::ranges::find(w.effects.done, "hold 1"));
  w.c.published({.version = 1, .parameters = w.ticket_of(policy_node), .copy_s = 0});
  CHECK(w.effects.sent.empty());
  w.c.evaluated({"held_out", 0, 1}, 1);
  CHECK(told("let go of 1") == 1);
  CHECK(told("let go of 0") == 0);

  w.rollout_up({"rollout", 1, 1}, 11); // a late one is sent what the other one has
  w.give_prompts();
  REQUIRE(w.effects.sent.size() == 1);
  CHECK(w.effects.sent.back().second.version == 0);

  train_next();
  CHECK(told("hold 0") == 0); // it is held
  w.c.published({.version = 2, .parameters = w.ticket_of(policy_node), .copy_s = 0});
  train_next();
  CHECK(w.effects.published.back() == 3); // for the rollouts too
  CHECK(told("let go of 0") == 1);
  CHECK(told("hold 2") == 0);
}

TEST_CASE("a person who stops a run waits for no evaluation; an early stop does") { // CO-5
  for (const auto haste : {group_router::haste::some, group_router::haste::none}) {
    router_world w(2, {{"held_out", 0, true}});
    const role_instance held_out{"held_out", 0, 1};
    w.all_up();
    w.c.evaluation_up(held_out, 40);
    w.c.stop(w.now, haste);
    w.c.checkpointed(0, w.now);
    CHECK(w.effects.finished == (haste == group_router::haste::some));
    w.c.evaluated(held_out, 0);
    CHECK(w.effects.finished);
  }
}

TEST_CASE("an evaluation that is lost is let go of once, and the run's end does not wait for it") { // CO-5
  router_world w(2, {{"held_out", 0, true}});
  const role_instance held_out{"held_out", 0, 1};
  w.all_up();
  w.c.evaluation_up(held_out, 40);
  REQUIRE(w.effects.evaluating.size() == 1);
  CHECK(w.effects.evaluating[0].version == 0);
  CHECK(w.effects.evaluating[0].parameters.tickets.at(0).owner == policy_node);
  CHECK(w.effects.evaluating[0].parameters.tickets.at(0).id == 1);
  CHECK_FALSE(w.c.evaluation_lost(held_out, 1)); // nobody was asked
  CHECK(w.c.evaluations().lost("held_out") == 0);
  CHECK(w.c.evaluation_lost(held_out, 0));
  CHECK_FALSE(w.c.evaluation_lost(held_out, 0)); // told already
  CHECK(w.c.evaluations().lost("held_out") == 1);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "let go of 0") == 1);
  CHECK(w.c.evaluations().idle());
  CHECK(w.effects.failure.empty());
}

TEST_CASE("the death of an evaluation's process costs the evaluation alone") {
  router_world w(2, {{"held_out", 0, true}});
  w.all_up();
  w.c.evaluation_up({"held_out", 0, 1}, 40);
  w.give_prompts();
  const auto before = w.c.scheduler().at();
  w.c.node_gone(40, w.now);
  CHECK(w.c.scheduler().at().generating == before.generating);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "let go of 0") == 1);
  CHECK(w.effects.failure.empty());
}

} // namespace group_router_versions_test
