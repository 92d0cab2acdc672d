#include "actors/coordinator_shell.hpp"

#include "tests/actors/fixture.hpp"
#include "tests/support/deterministic_system.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/temporary_folder.hpp"

#include "runtime/pipeline/schedule_config.hpp"
#include <caf/scoped_actor.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

using namespace millrace;
using namespace millrace::actors;

namespace {

using words = std::vector<std::string>;

bool has(const words& all, const std::string& one) { return std::find(all.begin(), all.end(), one) != all.end(); }

// What a stand-in keeps unanswered is answered later in its own context: `continue_in`.
using agent_shell = process_agent_actor::extend<caf::reacts_to<continuation>>;
using policy_stand_in = policy_actor::extend<caf::reacts_to<continuation>>;

/// What a stand-in for a process was told.
struct heard_by_agent {
  words told;
  bool answers = true; ///< introductions; false: they are kept
  std::vector<caf::typed_response_promise<peer_known>> kept;
};

agent_shell::behavior_type stand_in_agent(agent_shell::pointer self, std::shared_ptr<heard_by_agent> heard) {
  return {
      [=](const peer_up& peer) -> caf::result<peer_known> {
        heard->told.push_back("peer_up " + std::to_string(peer.node));
        if (heard->answers)
          return peer_known{peer.node};
        heard->kept.push_back(self->make_response_promise<peer_known>());
        return heard->kept.back();
      },
      [=](const peer_gone& peer) { heard->told.push_back("peer_gone " + std::to_string(peer.node)); },
      [=](const release_bundles&) {},
      [=](const start_roles& start) { heard->told.push_back("start " + start.roles.at(0).name()); },
      [=](const end_process&) {
        heard->told.push_back("end");
        self->quit();
      },
      [](const report_now&) { return process_report{}; },
      [](caf::tick_atom) {},
      [](const continuation& rest) { rest.run(); },
  };
}

/// What a stand-in for the policy was asked, in order.
struct heard_by_policy {
  words asked;
  policy_stand_in who;
  std::vector<std::pair<train_batch, caf::typed_response_promise<batch_report>>> training;
  std::vector<caf::typed_response_promise<checkpoint_written>> checkpoints;
};

policy_stand_in::behavior_type stand_in_policy(policy_stand_in::pointer self, std::shared_ptr<heard_by_policy> heard) {
  return {
      [=](const fetch_group& ask) { return group_fetched{ask.group, ask.attempt}; },
      [](const forget_group&) {},
      [=](const train_batch& ask) -> caf::result<batch_report> {
        heard->asked.push_back("train " + std::to_string(ask.step));
        heard->training.emplace_back(ask, self->make_response_promise<batch_report>());
        return heard->training.back().second;
      },
      [](const interrupt_training&) {},
      [=](const publish_weights& ask) {
        heard->asked.push_back("publish " + std::to_string(ask.version));
        return weights_published{ask.version, {}, 0};
      },
      [](const hold_weights&) {},
      [=](const write_checkpoint&) -> caf::result<checkpoint_written> {
        heard->asked.push_back("checkpoint");
        heard->checkpoints.push_back(self->make_response_promise<checkpoint_written>());
        return heard->checkpoints.back();
      },
      [](const continuation& rest) { rest.run(); },
  };
}

/// Ends every group at once, each answer of five tokens of the newest version.
rollout_actor::behavior_type stand_in_rollout(rollout_actor::pointer self, coordinator_actor coordinator, role_instance who) {
  auto version = std::make_shared<std::uint32_t>(0);
  return {
      [=](const generate_group& ask) {
        self->send(coordinator, group_generated{who, ask.group, ask.attempt, {}, {{*version, 5 * ask.answers}}, 0});
        return group_accepted{ask.group, 3};
      },
      [](const cancel_group&) {},
      [=](const interrupt_group& ask) { self->send(coordinator, group_interrupted{who, ask.group, ask.attempt, {}, {}}); },
      [=](const new_weights& ask) {
        *version = ask.version;
        return weights_live{ask.version, 0, 0};
      },
  };
}

stage_actor::behavior_type stand_in_stage() {
  return {[](const process_group& ask) { return group_columns{ask.group, ask.attempt, {}, {{"reward", 0.5}}, "", 0}; }};
}

/// A coordinator whose processes are stand-ins of this test.
struct run_of_stand_ins {
  struct start_of {
    placed_process what;
    std::string token;
    std::int64_t pid;
  };

  tests::temporary_folder scratch;
  telemetry::run_folder folder = telemetry::run_folder::create(scratch / "run");
  tests::deterministic_system actors;
  std::shared_ptr<const pipeline::pipeline> p;
  std::vector<start_of> starts;
  std::vector<std::int64_t> killed;
  std::optional<run_outcome> outcome;
  caf::scoped_actor self{actors.system};
  coordinator_actor coordinator;

  static std::vector<std::string> with_defaults(std::vector<std::string> overrides) {
    for (const char* setting : {"placement.rollout.processes=1", "placement.rules.processes=1", "placement.learner.processes=1",
                                "run.trajectories_fraction=0"})
      overrides.insert(overrides.begin(), setting);
    return overrides;
  }

  explicit run_of_stand_ins(const std::vector<std::string>& overrides = {})
      : p(std::make_shared<const pipeline::pipeline>(tests::tiny_pipeline(with_defaults(overrides)))) {
    telemetry::process_log().open(folder.log());
    telemetry::process_log().show_from(telemetry::level::error);
    coordinator_config config;
    config.pipeline = p;
    config.resolved = "the pipeline";
    config.data = tests::data_plane_of(1);
    config.run_key.assign(32, 7);
    config.record = std::make_shared<run_record>(*p, folder, 0);
    config.checkpoints = std::make_shared<telemetry::checkpoint_store>(folder.checkpoints(), 2);
    config.scheduler = std::make_shared<schedule::scheduler>(pipeline::schedule_of(*p));
    config.start_process = [this](const placed_process& what, const std::string& token) {
      starts.push_back({what, token, 1000 + static_cast<std::int64_t>(starts.size())});
      return starts.back().pid;
    };
    config.kill_process = [this](std::int64_t pid) { killed.push_back(pid); };
    config.on_end = [this](run_outcome how) { outcome = std::move(how); };
    coordinator = caf::actor_cast<coordinator_actor>(actors.system.spawn(make_coordinator, std::move(config)));
    send(begin_run{0});
  }

  ~run_of_stand_ins() {
    for (const auto& actor : hired)
      caf::anon_send_exit(actor, caf::exit_reason::kill);
    caf::anon_send_exit(coordinator, caf::exit_reason::kill);
    actors.run();
    for (const auto& heard : heards)
      heard->who = nullptr;
  }

  template <class Message>
  void send(Message message) {
    caf::anon_send(coordinator, std::move(message));
    actors.run();
  }

  /// The node that a process gets, or the line it is refused with.
  std::pair<std::uint64_t, std::string> join(const std::string& token, const role_instance& role) {
    auto answer = self->request(coordinator, caf::infinite, join_run{token, role});
    actors.run();
    std::pair<std::uint64_t, std::string> result;
    answer.receive([&](const welcome& w) { result.first = w.node; },
                   [&](const caf::error& error) { result.second = caf::to_string(error.context()); });
    return result;
  }

  const start_of& start_of_role(const std::string& name) const {
    return *std::find_if(starts.rbegin(), starts.rend(), [&](const auto& start) { return start.what.role.name() == name; });
  }

  struct process {
    std::uint64_t node = 0;
    std::shared_ptr<heard_by_agent> heard = std::make_shared<heard_by_agent>();
    process_agent_actor agent;
    role_instance role;
    std::int64_t pid = 0;
  };

  std::vector<caf::actor> hired;
  std::vector<std::shared_ptr<transport::data_plane>> planes; ///< of the stand-ins
  std::vector<std::shared_ptr<heard_by_policy>> heards; ///< they and their actors hold each other

  template <class Actor>
  Actor hire(Actor actor) {
    hired.push_back(caf::actor_cast<caf::actor>(actor));
    return actor;
  }

  process bring_up(const std::string& name, bool answers = true) {
    const auto& start = start_of_role(name);
    process fresh;
    fresh.heard->answers = answers;
    fresh.role = start.what.role;
    fresh.pid = start.pid;
    fresh.node = join(start.token, start.what.role).first;
    fresh.agent = hire(caf::actor_cast<process_agent_actor>(actors.system.spawn(stand_in_agent, fresh.heard)));
    planes.push_back(tests::data_plane_of(fresh.node));
    std::vector<std::uint8_t> address;
    for (const auto byte : planes.back()->address())
      address.push_back(std::to_integer<std::uint8_t>(byte));
    send(process_up{fresh.node, fresh.pid, "", fresh.agent, std::move(address), {fresh.role}});
    return fresh;
  }

  policy_actor policy(std::shared_ptr<heard_by_policy> heard) {
    heard->who = actors.system.spawn(stand_in_policy, heard);
    heards.push_back(heard);
    return hire(caf::actor_cast<policy_actor>(heard->who));
  }

  std::shared_ptr<heard_by_policy> start_everything() {
    auto heard = std::make_shared<heard_by_policy>();
    for (const std::string name : {"learner/0", "rules/0", "rollout/0"}) {
      const auto process = bring_up(name);
      if (process.role.role == "learner")
        send(policy_ready{process.role, process.node, policy(heard), 10});
      else if (process.role.role == "rules")
        send(stage_ready{process.role, process.node, hire(stage_actor(actors.system.spawn(stand_in_stage)))});
      else
        send(rollout_ready{process.role, process.node,
                           hire(rollout_actor(actors.system.spawn(stand_in_rollout, coordinator, process.role))), 8});
    }
    return heard;
  }

  /// Ends the training step under way.
  void finish_training(heard_by_policy& heard, bool skipped = false) {
    auto [batch, promise] = heard.training.back();
    batch_report report;
    report.skipped = skipped;
    report.complaint = skipped ? "the loss is not finite (group 7)" : "";
    report.step = batch.step;
    report.trained_tokens = 10 * static_cast<std::int64_t>(batch.groups.size());
    answer(heard.who, promise, report);
  }

  /// Has a stand-in give an answer that it kept back.
  template <class Actor, class Promise, class Answer>
  void answer(const Actor& who, Promise promise, Answer what) {
    continue_in(who, [promise, what]() mutable { promise.deliver(what); });
    actors.run();
  }

  std::string log() const { return tests::read_file(folder.log()); }
};

} // namespace

TEST_CASE("only a process with the token of its role joins, and only once") { // CR-3
  run_of_stand_ins run;
  REQUIRE(run.starts.size() == 3);
  const auto start = run.start_of_role("rollout/0");
  CHECK(run.join("0123", start.what.role).second.find("expects no such process") != std::string::npos);
  CHECK(run.join(start.token, {"rules", 0, 1}).second.find("expects no such process") != std::string::npos);
  const auto [node, refusal] = run.join(start.token, start.what.role);
  CHECK(refusal.empty());
  CHECK(node > 1);
  CHECK(run.join(start.token, start.what.role).second.find("expects no such process") != std::string::npos);
}

TEST_CASE("a process that says it is up without having joined is ignored") { // CR-3
  run_of_stand_ins run;
  const auto known = run.bring_up("rollout/0");
  auto heard = std::make_shared<heard_by_agent>();
  const auto stranger = run.hire(caf::actor_cast<process_agent_actor>(run.actors.system.spawn(stand_in_agent, heard)));
  run.send(process_up{77, 4711, "", stranger, {}, {{"rollout", 1, 1}}});
  run.send(process_up{known.node, 4711, "", stranger, {}, {known.role}});
  CHECK(heard->told.empty());
  CHECK(!has(known.heard->told, "peer_up 77"));
  CHECK(run.log().find("never joined") != std::string::npos);
}

TEST_CASE("a role starts once every process knows the new one and it knows them") { // PA-1
  run_of_stand_ins run;
  const auto first = run.bring_up("rules/0", false);
  CHECK(!has(first.heard->told, "start rules/0"));
  first.heard->answers = true;
  const auto second = run.bring_up("rollout/0");
  CHECK(has(first.heard->told, "peer_up " + std::to_string(second.node)));
  CHECK(has(second.heard->told, "peer_up " + std::to_string(first.node)));
  CHECK(has(second.heard->told, "start rollout/0"));
  for (auto& promise : first.heard->kept)
    run.answer(caf::actor_cast<agent_shell>(first.agent), promise, peer_known{1});
  CHECK(has(first.heard->told, "start rules/0"));
}

TEST_CASE("a process that CAF gives up on is dropped by every other one, killed, and started again when it has ended") { // CR-2
  run_of_stand_ins run;
  const auto rules = run.bring_up("rules/0");
  const auto rollout = run.bring_up("rollout/0");
  caf::anon_send_exit(rollout.agent, caf::exit_reason::kill);
  run.actors.run();
  CHECK(has(rules.heard->told, "peer_gone " + std::to_string(rollout.node)));
  CHECK(run.killed == std::vector<std::int64_t>{rollout.pid});
  run.send(process_ended{rollout.pid, "", rollout.role, "signal 9 (Killed)"});
  REQUIRE(run.starts.size() == 4);
  CHECK(run.starts.back().what.role == role_instance{"rollout", 0, 2});
  run.send(process_ended{rollout.pid, "", rollout.role, "signal 9 (Killed)"}); // told twice: it is another life's by now
  CHECK(run.starts.size() == 4);
  const auto again = run.bring_up("rollout/0");
  CHECK(again.node != rollout.node);
  CHECK(has(rules.heard->told, "peer_up " + std::to_string(again.node)));
}

TEST_CASE("a process that dies again and again before it is ready ends the run with its line") {
  run_of_stand_ins run;
  for (int i = 0; i < 3 && !run.outcome; ++i) {
    const auto start = run.start_of_role("rules/0");
    run.send(process_ended{start.pid, "", start.what.role, "exit status 1"});
  }
  REQUIRE(run.outcome);
  CHECK(!run.outcome->ok);
  CHECK(run.outcome->line == "rules/0 died 3 times in a row before it was ready, the last time of exit status 1");
}

TEST_CASE("a role that cannot start ends the run with its line, and every process with it") {
  run_of_stand_ins run;
  const auto rules = run.bring_up("rules/0");
  run.send(role_failed{{"rollout", 0, 1}, "model.gguf: truncated"});
  REQUIRE(run.outcome);
  CHECK(run.outcome->line == "rollout/0: model.gguf: truncated");
  CHECK(has(rules.heard->told, "end"));
}

TEST_CASE("the process of the policy cannot be replaced: the run ends and says how to go on") {
  run_of_stand_ins run;
  run.start_everything();
  const auto learner = run.start_of_role("learner/0");
  run.send(process_ended{learner.pid, "", learner.what.role, "signal 9 (Killed)"});
  REQUIRE(run.outcome);
  CHECK(run.outcome->line.find("millrace resume") != std::string::npos);
}

TEST_CASE("what leaves a handler as an exception ends the run with its line") {
  run_of_stand_ins run({"run.steps=1", "schedule.groups_per_step=1"});
  run.bring_up("learner/0");
  auto heard = std::make_shared<heard_by_policy>();
  run.send(policy_ready{{"learner", 0, 1}, 2, run.policy(heard), 10});
  const auto process = run.bring_up("rollout/0");
  const auto silent = [](std::shared_ptr<std::vector<generate_group>> asked) -> rollout_actor::behavior_type {
    return {[asked](const generate_group& ask) {
              asked->push_back(ask);
              return group_accepted{ask.group, 3};
            },
            [](const cancel_group&) {}, [](const interrupt_group&) {}, [](const new_weights& ask) { return weights_live{ask.version, 0, 0}; }};
  };
  auto asked = std::make_shared<std::vector<generate_group>>();
  run.send(rollout_ready{process.role, process.node, run.hire(rollout_actor(run.actors.system.spawn(silent, asked))), 8});
  REQUIRE(asked->size() == 1);
  run.send(group_generated{process.role, 0, asked->at(0).attempt, {}, {{0, -5}}, 0});
  REQUIRE(run.outcome);
  CHECK(!run.outcome->ok);
  CHECK(run.outcome->line.find("tokens of version 0: found -5") != std::string::npos);
}

TEST_CASE("a group that its rollout has forgotten is named, and generated again once two reports agree") { // CO-7
  run_of_stand_ins run({"run.steps=1", "schedule.groups_per_step=1"});
  const auto heard = std::make_shared<heard_by_policy>();
  const auto learner = run.bring_up("learner/0");
  run.send(policy_ready{learner.role, learner.node, run.policy(heard), 10});
  const auto rules = run.bring_up("rules/0");
  run.send(stage_ready{rules.role, rules.node, run.hire(stage_actor(run.actors.system.spawn(stand_in_stage)))});
  const auto process = run.bring_up("rollout/0");
  struct forgetful {
    std::vector<generate_group> asked;
    std::vector<std::uint64_t> cancelled;
  };
  const auto rollout = [](std::shared_ptr<forgetful> all) -> rollout_actor::behavior_type {
    return {[all](const generate_group& ask) {
              all->asked.push_back(ask);
              return group_accepted{ask.group, 3};
            },
            [all](const cancel_group& ask) { all->cancelled.push_back(ask.group); }, [](const interrupt_group&) {},
            [](const new_weights& ask) { return weights_live{ask.version, 0, 0}; }};
  };
  const auto all = std::make_shared<forgetful>();
  run.send(rollout_ready{process.role, process.node, run.hire(rollout_actor(run.actors.system.spawn(rollout, all))), 8});
  REQUIRE(all->asked.size() == 1);
  const auto report = [&](std::uint64_t node, std::uint64_t asked, std::vector<telemetry::held_group> held) {
    process_report what;
    what.node = node;
    what.now_s = telemetry::now_s();
    what.holdings = {{"rollout/0", asked, std::move(held)}};
    run.send(what);
  };
  report(process.node, 0, {}); // made before the request arrived
  report(process.node, 0, {});
  report(process.node, 1, {{0, 1}});
  report(process.node, 1, {});
  report(rules.node, 1, {}); // not the rollout's process
  CHECK(all->asked.size() == 1);
  CHECK(run.log().find("counts as generating") == std::string::npos);
  report(process.node, 1, {});
  CHECK(run.log().find("group 0 counts as generating on rollout/0, which does not have it: its credit is held since ") != std::string::npos);
  CHECK(all->cancelled == std::vector<std::uint64_t>{0});
  REQUIRE(all->asked.size() == 2);
  CHECK(all->asked[1].attempt == 2);
  CHECK(all->asked[1].seed == all->asked[0].seed);
  run.send(group_generated{process.role, 0, 1, {}, {{0, 5}}, 0}); // it had it after all: too late
  CHECK(heard->training.empty());
  report(process.node, 2, {{0, 2}});
  report(process.node, 2, {{0, 2}});
  run.send(group_generated{process.role, 0, 2, {}, {{0, 10}}, 0});
  REQUIRE(heard->training.size() == 1);
  CHECK(heard->training[0].first.groups == std::vector<std::uint64_t>{0});
}

TEST_CASE("a stall names a group that the last report of its rollout does not have") { // CO-7, CR-4
  run_of_stand_ins run({"run.stall_after_s=0.001", "run.steps=1", "schedule.groups_per_step=1"});
  const auto heard = std::make_shared<heard_by_policy>();
  const auto learner = run.bring_up("learner/0");
  run.send(policy_ready{learner.role, learner.node, run.policy(heard), 10});
  const auto process = run.bring_up("rollout/0");
  const auto silent = []() -> rollout_actor::behavior_type {
    return {[](const generate_group& ask) { return group_accepted{ask.group, 3}; }, [](const cancel_group&) {}, [](const interrupt_group&) {},
            [](const new_weights& ask) { return weights_live{ask.version, 0, 0}; }};
  };
  run.send(rollout_ready{process.role, process.node, run.hire(rollout_actor(run.actors.system.spawn(silent))), 8});
  process_report what;
  what.node = process.node;
  what.now_s = telemetry::now_s();
  what.holdings = {{"rollout/0", 1, {}}};
  run.send(what);
  const auto begun = telemetry::now_s();
  CHECK(tests::eventually([&] { return telemetry::now_s() > begun + 0.005; }));
  run.actors.advance(std::chrono::seconds(1));
  CHECK(run.log().find("group 0 counts as generating on rollout/0, which does not have it") != std::string::npos);
}

TEST_CASE("a checkpoint is asked of the policy before the step after it, though that step's groups are ready") {
  run_of_stand_ins run({"schedule.preset=one_step_off", "run.checkpoint_every=1"});
  const auto heard = run.start_everything();
  REQUIRE(heard->training.size() == 1);
  run.finish_training(*heard);
  REQUIRE(heard->training.size() == 2);
  const auto place = [&](const std::string& what) {
    return std::find(heard->asked.begin(), heard->asked.end(), what) - heard->asked.begin();
  };
  CHECK(place("train 1") < place("checkpoint"));
  CHECK(place("checkpoint") < place("train 2"));
}

TEST_CASE("steps that are skipped one after another end the run after the number that is set; one that is applied begins anew") {
  run_of_stand_ins run({"run.steps=9", "run.max_skipped_steps=2"});
  const auto heard = run.start_everything();
  std::size_t step = 0;
  for (const bool skipped : {true, false, true}) {
    REQUIRE(heard->training.size() == ++step);
    run.finish_training(*heard, skipped);
    CHECK(!run.outcome);
  }
  CHECK(run.log().find("step 3 was skipped: the loss is not finite (group 7)") != std::string::npos);
  REQUIRE(heard->training.size() == ++step);
  run.finish_training(*heard, true);
  REQUIRE(run.outcome);
  CHECK(!run.outcome->ok);
  CHECK(run.outcome->line == "2 steps in a row were skipped (run.max_skipped_steps), the last one: the loss is not finite (group 7)");
}

TEST_CASE("a checkpoint that fails is a warning while the run goes on, and fails the run at its end") {
  run_of_stand_ins run({"run.checkpoint_every=2"});
  const auto heard = run.start_everything();
  for (std::size_t step = 1; step <= 3; ++step) {
    REQUIRE(heard->training.size() == step);
    run.finish_training(*heard);
    if (step == 2) {
      REQUIRE(heard->checkpoints.size() == 1);
      run.answer(heard->who, heard->checkpoints[0], caf::make_error(caf::sec::runtime_error, std::string("no space left")));
      CHECK(run.log().find("checkpoint of step 2 was not written: no space left") != std::string::npos);
      CHECK(!run.outcome);
    }
  }
  REQUIRE(heard->checkpoints.size() == 2);
  CHECK(!run.outcome);
  run.answer(heard->who, heard->checkpoints[1], caf::make_error(caf::sec::runtime_error, std::string("no space left")));
  REQUIRE(run.outcome);
  CHECK(!run.outcome->ok);
  CHECK(run.outcome->line.starts_with("checkpoint of step 3 was not written: no space left"));
  CHECK(telemetry::checkpoint_steps(run.folder.checkpoints()).empty());
  CHECK(telemetry::read_metrics(run.folder.metrics()).size() == 3);
}

TEST_CASE("no progress for the configured time prints who waits for whom") { // CR-4
  run_of_stand_ins run({"run.stall_after_s=0.001"});
  const auto begun = telemetry::now_s();
  CHECK(tests::eventually([&] { return telemetry::now_s() > begun + 0.005; }));
  run.actors.advance(std::chrono::seconds(1));
  const auto log = run.log();
  CHECK(log.find("no progress for") != std::string::npos);
  CHECK(log.find("rollout/0") != std::string::npos);
}

TEST_CASE("a run that is to end at a stall says who waits for whom and ends with one line") {
  run_of_stand_ins run({"run.stall_after_s=0.001", "run.on_stall=abort"});
  const auto begun = telemetry::now_s();
  CHECK(tests::eventually([&] { return telemetry::now_s() > begun + 0.005; }));
  run.actors.advance(std::chrono::seconds(1));
  CHECK(run.log().find("who waits for whom") != std::string::npos);
  REQUIRE(run.outcome);
  CHECK(!run.outcome->ok);
  CHECK(run.outcome->line.starts_with("no progress for "));
  CHECK(run.outcome->line.ends_with("go on from the last checkpoint with `millrace resume`"));
}

TEST_CASE("a request that nobody answers is treated as lost once its deadline has passed") { // CR-1
  run_of_stand_ins run({"run.request_deadline_s=2"});
  const auto rules = run.bring_up("rules/0", false);
  const auto rollout = run.bring_up("rollout/0");
  CHECK(!has(rollout.heard->told, "start rollout/0"));
  run.actors.advance(std::chrono::seconds(3));
  CHECK(has(rollout.heard->told, "start rollout/0"));
  CHECK(run.log().find("no answer within the deadline") != std::string::npos);
}
