#include "actors/policy_shell.hpp"

#include "runtime/cluster/actor_config.hpp"
#include "tests/actors/fixture.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/temporary_folder.hpp"

#include <caf/scoped_actor.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace millrace;
using namespace millrace::actors;

namespace {

constexpr auto within = std::chrono::seconds(20);

struct one_thread : cluster::actor_config {
  one_thread() : cluster::actor_config([] {
    cluster::actor_options options;
    options.threads = 1;
    return options;
  }()) {}
};

/// The policy's actor over the tiny model, in a system of its own.
struct running_policy {
  one_thread config;
  caf::actor_system system{config};
  caf::scoped_actor self{system};
  tests::temporary_folder scratch;
  std::shared_ptr<transport::data_plane> data = tests::data_plane_of(1);
  std::shared_ptr<const pipeline::pipeline> p = std::make_shared<const pipeline::pipeline>(tests::tiny_pipeline());
  policy_shell actor{system.spawn(make_policy, role_context{p, {"learner", 0, 1}, 1, data, {}, ""},
                                  std::make_shared<learning>(*p, "", 1))};

  ~running_policy() {
    self->send_exit(actor, caf::exit_reason::user_shutdown);
    actor = nullptr;
    // The data plane's own thread, where callbacks end, must not be the last to hold it.
    CHECK(tests::eventually([&] { return data.use_count() == 1; }));
  }

  template <class Answer, class Request>
  std::pair<Answer, std::string> receive(Request request) {
    std::pair<Answer, std::string> result;
    request.receive([&](const Answer& answer) { result.first = answer; },
                    [&](const caf::error& error) { result.second = caf::to_string(error); });
    return result;
  }

  template <class Answer, class Message>
  std::pair<Answer, std::string> ask(Message message) {
    return receive<Answer>(self->request(actor, within, std::move(message)));
  }

  fetch_group group(std::uint64_t id, std::vector<float> reward = {1, 0}) {
    return {id, 1, {data->publish(tests::rollout_columns()), data->publish(tests::reward_columns(std::move(reward)))}};
  }

  std::string folder(const char* name) {
    std::filesystem::create_directory(scratch / name);
    return (scratch / name).string();
  }
};

} // namespace

TEST_CASE("what is asked of the policy is done in the order of asking") { // PO-1
  running_policy policy;
  CHECK(policy.ask<group_fetched>(policy.group(1)).second.empty());
  CHECK(policy.ask<group_fetched>(policy.group(2)).second.empty());
  const auto before = policy.folder("before"), after = policy.folder("after");
  auto& self = policy.self;
  auto first = self->request(policy.actor, within, write_checkpoint{before});
  auto training = self->request(policy.actor, within, train_batch{1, 0, {1, 2}});
  auto publication = self->request(policy.actor, within, publish_weights{1});
  auto second = self->request(policy.actor, within, write_checkpoint{after});
  CHECK(policy.receive<checkpoint_written>(std::move(first)).second.empty());
  const auto [report, failure] = policy.receive<batch_report>(std::move(training));
  CHECK(failure.empty());
  CHECK(report.step == 1);
  CHECK(report.trained_tokens == 8);
  CHECK(policy.receive<weights_published>(std::move(publication)).second.empty());
  CHECK(policy.receive<checkpoint_written>(std::move(second)).second.empty());
  CHECK(tests::read_file(std::filesystem::path(before) / "version") == "0\n");
  CHECK(tests::read_file(std::filesystem::path(after) / "version") == "1\n");
}

TEST_CASE("a group that cannot be pulled or trained on is answered with an error that names the cause") {
  running_policy policy;
  auto malformed = policy.group(1, {1, 2, 3});
  CHECK(policy.ask<group_fetched>(malformed).second.find("column 'reward' has 3 entries for 2 answers") != std::string::npos);
  auto gone = policy.group(2);
  policy.data->release(gone.columns[0].id);
  CHECK(!policy.ask<group_fetched>(gone).second.empty());
  CHECK(policy.ask<batch_report>(train_batch{1, 0, {1}}).second.find("group 1 was never fetched") != std::string::npos);
  CHECK(policy.ask<checkpoint_written>(write_checkpoint{"/nowhere/at/all"}).second.empty() == false);
}

TEST_CASE("a forgotten group cannot be trained") { // PO-2
  running_policy policy;
  CHECK(policy.ask<group_fetched>(policy.group(1)).second.empty());
  policy.self->send(policy.actor, forget_group{1});
  CHECK(policy.ask<batch_report>(train_batch{1, 0, {1}}).second.find("never fetched") != std::string::npos);
}

TEST_CASE("an interrupted step keeps its groups for the next attempt") {
  running_policy policy;
  CHECK(policy.ask<group_fetched>(policy.group(1)).second.empty());
  auto& self = policy.self;
  // Checkpoints keep the policy's thread busy until the interruption has arrived.
  for (int i = 0; i < 4; ++i)
    self->send(policy.actor, write_checkpoint{policy.folder(("busy" + std::to_string(i)).c_str())});
  auto training = self->request(policy.actor, within, train_batch{1, 0, {1}});
  self->send(policy.actor, interrupt_training{1});
  CHECK(policy.receive<batch_report>(std::move(training)).first.interrupted);
  const auto [again, failure] = policy.ask<batch_report>(train_batch{1, 0, {1}});
  CHECK(failure.empty());
  CHECK(!again.interrupted);
}

TEST_CASE("a version that the parameters are not is refused, and the last two published ones can be pulled") {
  running_policy policy;
  CHECK(policy.ask<weights_published>(publish_weights{5}).second.find("those of version 0") != std::string::npos);
  std::vector<transport::ticket> published;
  for (std::uint64_t step = 1; step <= 3; ++step) {
    published.push_back(policy.ask<weights_published>(publish_weights{static_cast<std::uint32_t>(step - 1)}).first.parameters);
    CHECK(policy.ask<group_fetched>(policy.group(step)).second.empty());
    CHECK(policy.ask<batch_report>(train_batch{step, static_cast<std::uint32_t>(step - 1), {step}}).second.empty());
  }
  std::vector<bool> there;
  for (const auto& ticket : published) {
    tests::watched<int> arrived; // 1 yes, 2 no
    policy.data->pull(ticket, within, [&](transport::pull_result result) { arrived.change([&](int& x) { x = result ? 1 : 2; }); });
    REQUIRE(arrived.wait([](int x) { return x != 0; }));
    there.push_back(arrived.get() == 1);
  }
  CHECK(there == std::vector<bool>{false, true, true});
}

TEST_CASE("a policy that is ended in the middle of a step interrupts it and goes") {
  running_policy policy;
  CHECK(policy.ask<group_fetched>(policy.group(1)).second.empty());
  auto& self = policy.self;
  self->send(policy.actor, train_batch{1, 0, {1}});
  self->monitor(policy.actor);
  self->send_exit(policy.actor, caf::exit_reason::user_shutdown);
  bool down = false;
  self->receive([&](const caf::down_msg&) { down = true; }, caf::after(within) >> [] {});
  CHECK(down);
}
