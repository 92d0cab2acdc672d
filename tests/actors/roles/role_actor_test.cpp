#include "actors/protocol/system.hpp"
#include "actors/roles/role_actor.hpp"
#include "runtime/roles/rule_verifier_role.hpp"
#include "runtime/telemetry/in_flight.hpp"
#include "runtime/telemetry/trace.hpp"
#include "tests/runtime/roles/ask.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace role_actor_test {

using namespace millrace;
using namespace millrace::actors;
using roles::answer_to;

namespace {

constexpr auto within = std::chrono::seconds(10);

using words = std::vector<std::string>;

/// Has every ability but that of adding columns: writes down what it is asked, and answers at once or with an error.
struct able_role : roles::generator,
                   roles::trainer,
                   roles::weights_giver,
                   roles::weights_taker,
                   roles::evaluator,
                   roles::state_keeper {
  words heard; ///< changed on the actor's thread, looked at once it has answered
  std::string error;
  std::shared_ptr<roles::environment> playing_with;
  std::function<void(answer_to<batch_report>)> kept; ///< instead of training

  void hear(const std::string& what, std::uint64_t number) { heard.push_back(what + " " + std::to_string(number)); }

  void generate(const generate_group& ask, std::shared_ptr<roles::environment> plays,
                answer_to<group_accepted> done) override {
    hear("generate", ask.group);
    playing_with = std::move(plays);
    done({.group = ask.group, .prompt_tokens = 3}, error);
  }

  void cancel(const cancel_group& ask) override { hear("cancel", ask.group); }

  void interrupt(const interrupt_group& ask) override { hear("interrupt group", ask.group); }

  void fetch(const fetch_group& ask, answer_to<group_fetched> done) override {
    hear("fetch", ask.group);
    done({.group = ask.group, .attempt = ask.attempt, .flat = true}, error);
  }

  void forget(const forget_group& ask) override { hear("forget", ask.group); }

  void train(const train_batch& ask, answer_to<batch_report> done) override {
    hear("train", ask.step);
    if (kept)
      kept(std::move(done));
    else
      done({.step = ask.step, .part = ask.part}, error);
  }

  void interrupt(const interrupt_training& ask) override { hear("interrupt step", ask.step); }

  bool ends_steps() const override { return true; }

  void end_step(const millrace::end_step& how) override { hear("end step", how.step); }

  bool needs_returns() const override { return true; }

  bool keeps(group_id) const override { return false; }

  std::uint64_t parameter_count() const override { return 77; }

  void publish(const publish_weights& ask, answer_to<weights_published> done) override {
    hear("publish", ask.version);
    done({.version = ask.version}, error);
  }

  void hold(const hold_weights& ask) override { hear(ask.hold ? "hold" : "let go of", ask.version); }

  void let_go(const weights_taken& what) override { hear("all have", what.version); }

  void take(const new_weights& ask, answer_to<weights_live> done) override {
    hear("take", ask.version);
    done({.version = ask.version}, error);
  }

  void evaluate(const evaluate_version& ask, answer_to<version_evaluated> done) override {
    hear("evaluate", ask.version);
    done({.version = ask.version, .figures = {{"pass@1", 0.5}}}, error);
  }

  std::uint64_t rows() const override { return 9; }

  void write(const write_checkpoint& ask, answer_to<checkpoint_written> done) override {
    heard.push_back("write " + ask.folder);
    done({.folder = ask.folder}, error);
  }
};

/// Adds columns as the test says.
struct told_adder : roles::column_adder {
  transport::wanted_columns wanted;
  std::function<void(columns::column_set, answer_to<roles::added_columns>)> how;

  transport::wanted_columns reads() const override { return wanted; }

  void add(const process_group&, columns::column_set columns, answer_to<roles::added_columns> done) override {
    how(std::move(columns), std::move(done));
  }
};

roles::role_abilities all_of(const std::shared_ptr<able_role>& role) {
  return {.generates = role,
          .trains = role,
          .gives_weights = role,
          .takes_weights = role,
          .evaluates = role,
          .keeps_state = role,
          .places = 8};
}

cluster::actor_options one_thread() {
  cluster::actor_options options;
  options.threads = 1;
  return options;
}

/// A role's actor in a system of its own, over a real data plane.
struct running_role {
  std::shared_ptr<transport::data_plane> data = tests::data_plane_of(1);
  role_place place{.who = {"rules", 0, 1}, .node = 1, .data = data, .deadline = within};
  actor_system system{one_thread()};
  address where;

  explicit running_role(roles::role_abilities abilities)
      : where(system.start("rules", role_actor(place, std::move(abilities)))) {}

  ~running_role() {
    end_actor(where);
    where = {};
    place.data = nullptr;
    // The data plane's own thread, where callbacks end, must not be the last to hold it.
    CHECK(tests::eventually([&] { return data.use_count() == 1; }));
  }

  /// The answer, or the line it was refused with.
  template <class Protocol, class Message>
  std::pair<answer_of<Protocol, Message>, std::string> ask(Message what) {
    const auto result = system.ask_and_wait(handle<Protocol>(where), std::move(what), within);
    if (const auto* why = std::get_if<refusal>(&result))
      return {{}, why->line};
    return {std::get<0>(result), ""};
  }

  std::pair<group_columns, std::string> add(std::vector<ticket> columns) {
    return ask<adds_columns>(process_group{.group = 4, .attempt = 2, .columns = std::move(columns)});
  }
};

/// What the process's table has of the role.
telemetry::in_flight_report in_flight() {
  const auto all = telemetry::process_in_flight().all();
  const auto found = std::find_if(all.begin(), all.end(), [](const auto& role) { return role.who == "rules/0"; });
  return found == all.end() ? telemetry::in_flight_report{} : *found;
}

bool comes_to_have(const std::vector<group_attempt>& groups) {
  return tests::eventually([&] { return in_flight().held == groups; });
}

} // namespace

TEST_CASE("a role that keeps state says whether it sees the run's files, and what it sees instead") {
  const tests::temporary_folder folder;
  running_role actor(all_of(std::make_shared<able_role>()));
  const auto path = (folder / "seen").string();
  tests::write_file(path, "rules/0 at 12.5");
  CHECK(actor.ask<keeps_state>(find_file{.path = path, .content = "rules/0 at 12.5"}).second == "");
  CHECK(actor.ask<keeps_state>(find_file{.path = path, .content = "another run"}).second
        == path + " is another file here");
  const auto gone = actor.ask<keeps_state>(find_file{.path = (folder / "gone").string(), .content = ""}).second;
  CHECK(gone.find("No such file") != std::string::npos);
}

TEST_CASE("each ability is handed its messages, and its answers go to whoever asked") {
  const auto role = std::make_shared<able_role>();
  running_role actor(all_of(role));
  CHECK(actor.ask<generates>(generate_group{.group = 1}).first.prompt_tokens == 3);
  tell(handle<generates>(actor.where), cancel_group{2});
  tell(handle<generates>(actor.where), interrupt_group{3, 1});
  const auto fetched = actor.ask<trains>(fetch_group{.group = 4, .attempt = 5}).first;
  CHECK(fetched.group == 4);
  CHECK(fetched.attempt == 5);
  CHECK(fetched.flat);
  tell(handle<trains>(actor.where), forget_group{5});
  CHECK(actor.ask<trains>(train_batch{.step = 6, .part = 2}).first.part == 2);
  tell(handle<trains>(actor.where), interrupt_training{7});
  CHECK(actor.ask<trains>(end_step{.step = 8}).first.step == 8);
  CHECK(actor.ask<publishes_weights>(publish_weights{9}).first.version == 9);
  tell(handle<publishes_weights>(actor.where), hold_weights{.version = 10, .hold = true});
  tell(handle<publishes_weights>(actor.where), hold_weights{.version = 11, .hold = false});
  tell(handle<publishes_weights>(actor.where), weights_taken{.version = 11});
  CHECK(actor.ask<takes_weights>(new_weights{.version = 12}).first.version == 12);
  CHECK(actor.ask<evaluates>(evaluate_version{.version = 13}).first.figures.at("pass@1") == 0.5);
  CHECK(actor.ask<keeps_state>(write_checkpoint{"14"}).first.folder == "14");
  CHECK(role->heard
        == words{"generate 1", "cancel 2", "interrupt group 3", "fetch 4", "forget 5", "train 6", "interrupt step 7",
                 "end step 8", "publish 9", "hold 10", "let go of 11", "all have 11", "take 12", "evaluate 13",
                 "write 14"});
}

TEST_CASE("the line of an ability's error is the asker's refusal") {
  const auto role = std::make_shared<able_role>();
  role->error = "it cannot";
  running_role actor(all_of(role));
  CHECK(actor.ask<generates>(generate_group{.group = 1}).second == "it cannot");
  CHECK(actor.ask<trains>(fetch_group{.group = 1}).second == "it cannot");
  CHECK(actor.ask<trains>(train_batch{.step = 1}).second == "it cannot");
  CHECK(actor.ask<publishes_weights>(publish_weights{1}).second == "it cannot");
  CHECK(actor.ask<takes_weights>(new_weights{.version = 1}).second == "it cannot");
  CHECK(actor.ask<evaluates>(evaluate_version{.version = 1}).second == "it cannot");
  CHECK(actor.ask<keeps_state>(write_checkpoint{"1"}).second == "it cannot");
}

TEST_CASE("a message of an ability that the role does not have is refused by the role's name") {
  const std::string line = "rules takes no such message";
  running_role nobody({});
  CHECK(nobody.ask<generates>(generate_group{.group = 1}).second == line);
  CHECK(nobody.ask<adds_columns>(process_group{.group = 1}).second == line);
  CHECK(nobody.ask<trains>(train_batch{.step = 1}).second == line);
  CHECK(nobody.ask<publishes_weights>(publish_weights{1}).second == line);
  CHECK(nobody.ask<takes_weights>(new_weights{.version = 1}).second == line);
  CHECK(nobody.ask<evaluates>(evaluate_version{.version = 1}).second == line);
  CHECK(nobody.ask<keeps_state>(write_checkpoint{"1"}).second == line);
}

TEST_CASE("a role says what it can do: a handle for each ability, and the numbers that go with them") {
  const auto role = std::make_shared<able_role>();
  running_role actor(all_of(role));
  const auto able = ready_message(actor.place, all_of(role), actor.where);
  CHECK(able.who == role_instance{"rules", 0, 1});
  CHECK(able.node == 1);
  for (const auto& handle : std::vector<address>{able.generator, able.trainer, able.publisher, able.weights_taker,
                                                 able.evaluator, able.state_keeper})
    CHECK((handle == actor.where));
  CHECK(!able.column_adder);
  CHECK(able.capacity_groups == 8);
  CHECK(able.parameters == 77);
  CHECK(able.needs_returns);
  CHECK(able.rows == 9);
  const auto adder = ready_message(actor.place, {.adds_columns = std::make_shared<told_adder>()}, actor.where);
  CHECK((adder.column_adder == actor.where));
  CHECK(!adder.generator);
  CHECK(!adder.trainer);
  CHECK(!adder.publisher);
  CHECK(!adder.weights_taker);
  CHECK(!adder.evaluator);
  CHECK(!adder.state_keeper);
  CHECK(adder.capacity_groups == 0);
  CHECK(adder.parameters == 0);
  CHECK(!adder.needs_returns);
  CHECK(adder.rows == 0);
}

TEST_CASE("work that takes long does not keep other messages waiting") { // RL-2
  const auto role = std::make_shared<able_role>();
  tests::watched<std::vector<answer_to<batch_report>>> kept;
  role->kept = [&](answer_to<batch_report> done) { kept.change([&](auto& all) { all.push_back(std::move(done)); }); };
  running_role actor(all_of(role));
  tests::watched<bool> interrupted;
  std::thread asking([&] {
    const bool was = actor.ask<trains>(train_batch{.step = 3}).first.interrupted;
    interrupted.change([&](bool& it) { it = was; });
  });
  CHECK(kept.wait([](const auto& all) { return all.size() == 1; }));
  tell(handle<trains>(actor.where), interrupt_training{3});
  CHECK(actor.ask<takes_weights>(new_weights{.version = 4}).first.version == 4);
  CHECK(role->heard == words{"train 3", "interrupt step 3", "take 4"});
  kept.get().at(0)({.step = 3, .interrupted = true}, "");
  asking.join();
  CHECK(interrupted.get());
  kept.change([](auto& all) { all.clear(); });
}

TEST_CASE("a column adder answers a group with a ticket to what it added") { // ST-1
  const auto p = tests::tiny_pipeline();
  running_role actor(
      {.adds_columns = std::make_shared<roles::rule_verifier_role>(
           std::get<pipeline::rule_verifier_table>(p.at("rules").options), columns::wanted_by(p.at("rules")))});
  telemetry::process_trace().take();
  const auto [answer, error] = actor.add(
      {actor.data->publish(tests::prompt_columns("6 times 2?", "12")), actor.data->publish(tests::rollout_columns())});
  CHECK(error.empty());
  CHECK(answer.group == 4);
  CHECK(answer.attempt == 2);
  CHECK(answer.summary.at("reward") == summed{3, 2});
  CHECK(answer.busy_s > 0);
  tests::watched<std::vector<float>> reward;
  actor.data->pull(answer.columns, within, [&](transport::pull_result pulled) {
    reward.change([&](auto& all) { all = tests::values(pulled.value, column::reward); });
  });
  CHECK(reward.wait([](const auto& all) { return all == std::vector<float>{2.5f, 0.5f}; }));
  const auto spans = telemetry::process_trace().take().spans;
  CHECK(std::any_of(spans.begin(), spans.end(),
                    [](const auto& span) { return span.track == "rules/0" && span.name == "group 4"; }));
}

TEST_CASE("a column adder is handed the columns that it reads, and no others") {
  const auto adder = std::make_shared<told_adder>();
  adder->wanted = {.required = {"reward"}, .optional = {"text", "ref_logprob"}};
  tests::watched<words> names;
  adder->how = [&](const columns::column_set& columns, const answer_to<roles::added_columns>& done) {
    for (const char* name : {"reward", "reward.number", "text", "tokens", "ref_logprob"})
      if (columns.has(name))
        names.change([&](auto& all) { all.emplace_back(name); });
    done({}, "");
  };
  running_role actor({.adds_columns = adder});
  CHECK(actor.add({actor.data->publish(tests::rollout_columns()), actor.data->publish(tests::reward_columns())})
            .second.empty());
  CHECK(names.get() == words{"reward", "text"});
  CHECK(actor.add({actor.data->publish(tests::rollout_columns())}).second.find("'reward'") != std::string::npos);
}

TEST_CASE("a column adder answers exactly once what it cannot pull, what it fails on and what it throws on") { // ST-1
  const auto adder = std::make_shared<told_adder>();
  adder->wanted = {.required = {"tokens"}};
  running_role actor({.adds_columns = adder});
  const auto columns = actor.data->publish(tests::rollout_columns());
  const auto live = actor.data->stats().live_tickets;
  adder->how = [](auto&&, const auto& done) { done({}, "out of patience"); };
  CHECK(actor.add({columns}).second == "out of patience");
  adder->how = [](auto&&, auto&&) { throw std::runtime_error("lost its mind"); };
  CHECK(actor.add({columns}).second == "lost its mind");
  adder->how = [](auto&&, const auto& done) { done({.columns = {}, .complaint = "an unusable row"}, ""); };
  CHECK(actor.add({columns}).first.complaint == "an unusable row");
  CHECK(actor.data->stats().live_tickets == live + 1); // what failed published nothing
  actor.data->release(columns.id);
  CHECK(actor.add({columns}).second.find("bundle") != std::string::npos);
}

TEST_CASE("a column adder's group is in the process's table until it is answered, refused or lost") { // CO-7
  const auto adder = std::make_shared<told_adder>();
  tests::watched<std::map<group_id, answer_to<roles::added_columns>>> kept;
  std::atomic<group_id> next = 7;
  adder->how = [&](auto&&, auto done) { kept.change([&](auto& all) { all[next++] = std::move(done); }); };
  running_role actor({.adds_columns = adder});
  const handle<adds_columns> where(actor.where);
  CHECK(tests::eventually([] { return in_flight() == telemetry::in_flight_report{"rules/0", 0, {}}; }));
  tests::watched<words> answers;
  const auto asking = actor.system.start("asking", [&](millrace::actors::actor& self, inbox&) {
    for (const group_id group : {7u, 8u, 9u})
      self.ask(
          where, process_group{.group = group, .attempt = 1}, within,
          [&](const group_columns& what) {
            answers.change([&](auto& all) { all.push_back("answered " + std::to_string(what.group)); });
          },
          [&](const refusal& why) { answers.change([&](auto& all) { all.push_back(why.line); }); });
  });
  REQUIRE(kept.wait([](const auto& all) { return all.size() == 3; }));
  CHECK(in_flight() == telemetry::in_flight_report{"rules/0", 3, {{7, 1}, {8, 1}, {9, 1}}});
  kept.get().at(8)({.columns = tests::reward_columns()}, "");
  CHECK(answers.wait([](const auto& all) { return all == words{"answered 8"}; }));
  kept.change([](auto& all) { all.erase(8); });
  CHECK(comes_to_have({{7, 1}, {9, 1}}));
  kept.get().at(7)({}, "it broke");
  CHECK(answers.wait([](const auto& all) { return all == words{"answered 8", "it broke"}; }));
  kept.change([](auto& all) { all.erase(7); });
  CHECK(comes_to_have({{9, 1}}));
  kept.change([](auto& all) { all.clear(); }); // lost without an answer: the coordinator will notice
  CHECK(comes_to_have({}));
  CHECK(in_flight().asked == 3);
  CHECK(answers.get().size() == 2);
  end_actor(asking);
}

TEST_CASE(
    "a column adder's group ends after its answer is sent: who has the answer may find the group, but not before") {
  const auto adder = std::make_shared<told_adder>();
  adder->how = [](auto&&, const auto& done) { done({}, ""); };
  running_role actor({.adds_columns = adder});
  for (int i = 0; i < 100; ++i) {
    CHECK(actor.add({}).second.empty());
    REQUIRE(comes_to_have({}));
  }
}

TEST_CASE("what ends after its role's actor is dropped without harm") {
  const auto adder = std::make_shared<told_adder>();
  tests::watched<answer_to<roles::added_columns>> kept;
  adder->how = [&](auto&&, auto done) { kept.change([&](auto& one) { one = std::move(done); }); };
  {
    running_role actor({.adds_columns = adder});
    tests::watched<words> heard;
    const auto says = [&](const std::string& what) { heard.change([&](auto& all) { all.push_back(what); }); };
    const auto asking = actor.system.start("asking", [&](millrace::actors::actor& self, inbox&) {
      self.watch(actor.where, [&] { says("down"); });
      self.ask(
          handle<adds_columns>(actor.where), process_group{.group = 4, .attempt = 2}, within,
          [&](const group_columns&) { says("answered"); }, [&](const refusal&) { says("refused"); });
    });
    REQUIRE(kept.wait([](const auto& one) { return static_cast<bool>(one); }));
    end_actor(actor.where);
    REQUIRE(heard.wait([](const auto& all) { return !all.empty(); }));
    kept.get()({}, "too late");
    kept.change([](auto& one) { one = nullptr; });
    const auto all = heard.get();
    CHECK(std::count(all.begin(), all.end(), "down") == 1);
    CHECK(std::count(all.begin(), all.end(), "answered") == 0);
    end_actor(asking);
  }
  CHECK(tests::eventually([&] { return adder.use_count() == 1; }));
}

} // namespace role_actor_test
