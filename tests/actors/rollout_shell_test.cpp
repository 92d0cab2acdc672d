#include "actors/rollout_shell.hpp"

#include "actors/weights_bundle.hpp"
#include "runtime/cluster/actor_config.hpp"
#include "runtime/telemetry/holdings.hpp"
#include "tests/actors/fixture.hpp"
#include "tests/support/eventually.hpp"

#include <caf/scoped_actor.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace millrace;
using namespace millrace::actors;

namespace {

constexpr auto within = std::chrono::seconds(20);

struct heard {
  std::vector<group_generated> groups;
  std::vector<group_interrupted> interrupted;
  std::vector<std::string> failures;
};

using heard_by_coordinator = std::shared_ptr<tests::watched<heard>>;

coordinator_actor::behavior_type stand_in_coordinator(heard_by_coordinator all) {
  return {
      [](const begin_run&) {},
      [](const join_run&) { return welcome{}; },
      [](const process_up&) {},
      [](const rollout_ready&) {},
      [](const stage_ready&) {},
      [](const policy_ready&) {},
      [](const critic_ready&) {},
      [](const reference_ready&) {},
      [](const evaluation_ready&) {},
      [](const evaluation_progress&) {},
      [=](const role_failed& what) { all->change([&](heard& h) { h.failures.push_back(what.why); }); },
      [](const process_ended&) {},
      [=](const group_generated& what) { all->change([&](heard& h) { h.groups.push_back(what); }); },
      [=](const group_interrupted& what) { all->change([&](heard& h) { h.interrupted.push_back(what); }); },
      [](const process_report&) {},
      [](const checkpoint_stored&) {},
      [](const stop_run&) {},
      [](caf::tick_atom) {},
  };
}

/// The rollout's actor over the tiny model; its weights come when the test publishes them.
struct running_rollout {
  cluster::actor_config config{[] {
    cluster::actor_options options;
    options.threads = 1;
    return options;
  }()};
  caf::actor_system system{config};
  caf::scoped_actor self{system};
  heard_by_coordinator seen = std::make_shared<tests::watched<heard>>();
  coordinator_actor coordinator = system.spawn(stand_in_coordinator, seen);
  std::shared_ptr<transport::data_plane> data = tests::data_plane_of(1);
  std::shared_ptr<const pipeline::pipeline> p;
  rollout_shell actor;

  explicit running_rollout(const std::vector<std::string>& overrides = {})
      : p(std::make_shared<const pipeline::pipeline>(tests::tiny_pipeline(overrides))),
        actor(system.spawn(make_rollout, role_context{p, {"rollout", 0, 1}, 1, data, coordinator, ""},
                           model::load_checkpoint(tests::tiny_model(), {false}))) {}

  ~running_rollout() {
    self->send_exit(actor, caf::exit_reason::user_shutdown);
    self->send_exit(coordinator, caf::exit_reason::user_shutdown);
    actor = nullptr;
    // The data plane's own thread, where callbacks end, must not be the last to hold it.
    CHECK(tests::eventually([&] { return data.use_count() == 1; }));
  }

  static new_weights of(std::uint32_t version, transport::ticket parameters, bool in_flight = true) {
    return {version, std::move(parameters), in_flight};
  }

  transport::ticket publish_weights() { return data->publish(bundle_of(model::load_checkpoint(tests::tiny_model()).parameters)); }

  template <class Answer, class Message>
  std::pair<Answer, std::string> ask(Message message) {
    std::pair<Answer, std::string> result;
    self->request(actor, within, std::move(message))
        .receive([&](const Answer& answer) { result.first = answer; },
                 [&](const caf::error& error) { result.second = caf::to_string(error); });
    return result;
  }

  static generate_group prompt(std::uint64_t group, const std::string& text = "What is 1 plus 2?") {
    return {group, 1, {{"user", text}}, 2, 1000 + group};
  }

  bool wait_for(std::size_t groups) {
    return seen->wait([&](const heard& h) { return h.groups.size() >= groups; });
  }
};

} // namespace

TEST_CASE("a group is accepted with its prompt's length, and its columns can be pulled when it ends") { // RO-1
  running_rollout rollout;
  const auto [accepted, refusal] = rollout.ask<group_accepted>(running_rollout::prompt(7));
  CHECK(refusal.empty());
  CHECK(accepted.prompt_tokens > 5);
  CHECK(rollout.ask<weights_live>(running_rollout::of(3, rollout.publish_weights())).first.version == 3);
  REQUIRE(rollout.wait_for(1));
  const auto ended = rollout.seen->get().groups.at(0);
  CHECK(ended.group == 7);
  CHECK(ended.from == role_instance{"rollout", 0, 1});
  REQUIRE(ended.tokens.contains(3));
  CHECK(ended.tokens.size() == 1);
  tests::watched<std::int64_t> pulled{};
  rollout.data->pull(ended.columns, within, [&](transport::pull_result result) {
    const auto lengths = result.value.view<std::int32_t>("lengths");
    pulled.change([&](std::int64_t& sum) { sum = lengths.size() == 2 ? lengths[0] + lengths[1] : -1; });
  });
  CHECK(pulled.wait([&](std::int64_t sum) { return sum == ended.tokens.at(3); }));
}

TEST_CASE("a rollout says which groups it has: asked for and not answered, refused or cancelled") {
  running_rollout rollout({"roles.prompts.max_prompt_tokens=100"});
  const auto has = [] {
    const auto all = telemetry::process_holdings().all();
    return *std::find_if(all.begin(), all.end(), [](const auto& role) { return role.who == "rollout/0"; });
  };
  REQUIRE(tests::eventually([&] { return has() == telemetry::holding{"rollout/0", 0, {}}; })); // it has begun
  rollout.ask<group_accepted>(running_rollout::prompt(7));
  rollout.ask<group_accepted>(running_rollout::prompt(8));
  CHECK_FALSE(rollout.ask<group_accepted>(running_rollout::prompt(9, std::string(2000, 'x'))).second.empty());
  CHECK(has() == telemetry::holding{"rollout/0", 3, {{7, 1}, {8, 1}}});
  rollout.self->send(rollout.actor, cancel_group{8});
  CHECK(tests::eventually([&] { return has() == telemetry::holding{"rollout/0", 3, {{7, 1}}}; }));
  rollout.ask<weights_live>(running_rollout::of(3, rollout.publish_weights()));
  REQUIRE(rollout.wait_for(1));
  CHECK(tests::eventually([&] { return has() == telemetry::holding{"rollout/0", 3, {}}; }));
}

TEST_CASE("a prompt beyond max_prompt_tokens or the model's context is refused with the numbers") {
  running_rollout small({"roles.prompts.max_prompt_tokens=10"});
  const auto refusal = small.ask<group_accepted>(running_rollout::prompt(1, std::string(200, 'x'))).second;
  CHECK(refusal.find("want at most max_prompt_tokens = 10") != std::string::npos);
  std::string words;
  for (int i = 0; i < 1000; ++i)
    words += "? ";
  running_rollout large({"roles.prompts.max_prompt_tokens=100000"});
  CHECK(large.ask<group_accepted>(running_rollout::prompt(1, words)).second.find("in a context of 512") != std::string::npos);
}

TEST_CASE("a version older than the one staged is answered with the newer one and never sampled from") { // RO-3
  running_rollout rollout;
  const auto parameters = rollout.publish_weights();
  CHECK(rollout.ask<weights_live>(running_rollout::of(5, parameters)).first.version == 5);
  CHECK(rollout.ask<weights_live>(running_rollout::of(4, parameters)).first.version == 5);
  CHECK(rollout.ask<weights_live>(running_rollout::of(5, parameters)).first.version == 5);
  rollout.ask<group_accepted>(running_rollout::prompt(1));
  REQUIRE(rollout.wait_for(1));
  CHECK(rollout.seen->get().groups[0].tokens.contains(5));
}

TEST_CASE("weights that cannot be pulled or do not fit the model are an error, and the next version is taken") {
  running_rollout rollout;
  auto released = rollout.publish_weights();
  rollout.data->release(released.id);
  CHECK(!rollout.ask<weights_live>(running_rollout::of(1, released)).second.empty());
  const auto strange = rollout.data->publish(tests::reward_columns());
  CHECK(!rollout.ask<weights_live>(running_rollout::of(2, strange)).second.empty());
  CHECK(rollout.ask<weights_live>(running_rollout::of(3, rollout.publish_weights())).first.version == 3);
}

TEST_CASE("a cancelled group never ends") { // RO-1
  running_rollout rollout;
  rollout.ask<group_accepted>(running_rollout::prompt(1));
  rollout.self->send(rollout.actor, cancel_group{1});
  rollout.ask<group_accepted>(running_rollout::prompt(2));
  rollout.ask<weights_live>(running_rollout::of(0, rollout.publish_weights()));
  REQUIRE(rollout.wait_for(1));
  rollout.ask<group_accepted>(running_rollout::prompt(3));
  REQUIRE(rollout.wait_for(2));
  CHECK(rollout.seen->get().groups[0].group == 2);
  CHECK(rollout.seen->get().groups[1].group == 3);
  CHECK(rollout.seen->get().failures.empty());
}

TEST_CASE("an interrupted group is handed over under a ticket, and another rollout goes on with it") { // RO-1, RO-2
  const std::vector<std::string> long_answers{"roles.rollout.max_new_tokens=400", "roles.prompts.max_prompt_tokens=100"};
  running_rollout first(long_answers), second(long_answers);
  auto ask = running_rollout::prompt(7);
  first.ask<weights_live>(running_rollout::of(0, first.publish_weights()));
  first.ask<group_accepted>(ask);
  CHECK(tests::eventually([&] {
    first.self->send(first.actor, interrupt_group{7, 1});
    return !first.seen->get().interrupted.empty() || !first.seen->get().groups.empty();
  }));
  REQUIRE(first.seen->wait([](const heard& h) { return h.interrupted.size() + h.groups.size() == 1; }));
  REQUIRE(first.seen->get().interrupted.size() == 1);
  const auto handed = first.seen->get().interrupted[0];
  CHECK(handed.group == 7);
  CHECK(handed.from == role_instance{"rollout", 0, 1});
  ask.attempt = 2;
  ask.partial = handed.partial;
  ask.partial.owner = handed.partial.id == 0 ? 0 : 9; // of a process that is not there
  if (handed.partial.id != 0)
    CHECK(!second.ask<group_accepted>(ask).first.lost.empty());
  // What the data plane of a test process holds under a ticket, another one may publish too.
  tests::watched<transport::ticket> moved{};
  if (handed.partial.id != 0) {
    first.data->pull(handed.partial, within, [&](transport::pull_result result) {
      moved.change([&](auto& t) { t = second.data->publish(result.value); });
    });
    REQUIRE(moved.wait([](const auto& t) { return t.id != 0; }));
  }
  ask.attempt = 3;
  ask.partial = moved.get();
  SUBCASE("with new weights") {
    CHECK(second.ask<group_accepted>(ask).first.lost.empty());
    second.ask<weights_live>(running_rollout::of(1, second.publish_weights()));
    REQUIRE(second.wait_for(1));
    const auto ended = second.seen->get().groups[0];
    CHECK(ended.attempt == 3);
    for (const auto& [version, tokens] : handed.tokens) // not one is lost or made again
      CHECK(ended.tokens.at(version) == tokens);
    CHECK(ended.tokens.contains(1));
  }
  SUBCASE("if it is interrupted before, it hands over as much") {
    second.self->send(second.actor, ask);
    second.self->send(second.actor, interrupt_group{7, 3});
    REQUIRE(second.seen->wait([](const heard& h) { return h.interrupted.size() == 1; }));
    CHECK(second.seen->get().interrupted[0].tokens == handed.tokens);
  }
}

TEST_CASE("a rollout that is ended while it decodes and stages goes at once") {
  running_rollout rollout;
  rollout.ask<weights_live>(running_rollout::of(0, rollout.publish_weights()));
  for (std::uint64_t group = 0; group < 50; ++group)
    rollout.self->send(rollout.actor, running_rollout::prompt(group));
  rollout.self->send(rollout.actor, running_rollout::of(1, rollout.publish_weights()));
  rollout.self->monitor(rollout.actor);
  rollout.self->send_exit(rollout.actor, caf::exit_reason::user_shutdown);
  bool down = false;
  rollout.self->receive([&](const caf::down_msg&) { down = true; }, caf::after(within) >> [] {});
  CHECK(down);
}
