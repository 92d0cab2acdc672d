#include "actors/critic_shell.hpp"

#include "actors/column_origin.hpp"
#include "actors/learning.hpp"
#include "runtime/cluster/actor_config.hpp"
#include "runtime/model/score_head.hpp"
#include "tests/actors/fixture.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/core/Tensor.h>
#include <caf/scoped_actor.hpp>

#include <doctest/doctest.h>

#include <stdexcept>

using namespace millrace;
using namespace millrace::actors;

namespace {

constexpr auto within = std::chrono::seconds(20);

const std::string critic_role = R"(
[roles.critic]
kind = "critic"
from = ["rollout"]
model = "tiny"
threads = 1
optimizer = { lr = 1e-2 }
)";

std::shared_ptr<const pipeline::pipeline> with_critic() {
  return std::make_shared<const pipeline::pipeline>(
      tests::tiny_pipeline({"roles.learner.algorithm=ppo", "roles.learner.from=[\"rules\", \"critic\"]"}, critic_role));
}

const pipeline::critic_table& table_of(const pipeline::pipeline& p) {
  return std::get<pipeline::critic_table>(p.at("critic").options);
}

train::training_group group_of(const critic_learning& critic, std::uint64_t id) {
  auto group = training_group_of(id, column_set({tests::rollout_columns(), tests::reward_columns()}));
  const auto values = critic.values(group.prompt, group.answers);
  group.value = {{values[0], values[1], values[2]}, {values[3]}};
  return group;
}

std::vector<float> value_column(const transport::bundle& columns) {
  const auto values = columns.view<float>("value");
  return {values.begin(), values.end()};
}

std::vector<float> values_of(const critic_learning& critic) {
  return critic.values(std::vector<std::int32_t>{5, 6, 7}, std::vector<std::vector<std::int32_t>>{{10, 11, 12}, {20}});
}

struct one_thread : cluster::actor_config {
  one_thread() : cluster::actor_config([] {
    cluster::actor_options options;
    options.threads = 1;
    return options;
  }()) {}
};

/// Both halves of a critic over the tiny model, in a system of their own.
struct running_critic {
  one_thread config;
  caf::actor_system system{config};
  caf::scoped_actor self{system};
  tests::temporary_folder scratch;
  std::shared_ptr<transport::data_plane> data = tests::data_plane_of(1);
  std::shared_ptr<const pipeline::pipeline> p = with_critic();
  critic_core core{std::make_shared<critic_learning>(*p, table_of(*p), "", 1), std::make_shared<job_thread>()};
  role_context context{p, {"critic", 0, 1}, 1, data, {}, ""};
  critic_shell trained{system.spawn(make_critic, context, core)};
  stage_shell valued{system.spawn(make_stage, context, std::make_shared<critic_values>(core))};

  ~running_critic() {
    self->send_exit(trained, caf::exit_reason::user_shutdown);
    self->send_exit(valued, caf::exit_reason::user_shutdown);
    trained = nullptr;
    valued = nullptr;
    context.data = nullptr;
    // The data plane's own thread, where callbacks end, must not be the last to hold it.
    CHECK(tests::eventually([&] { return data.use_count() == 1; }));
  }

  template <class Answer, class Actor, class Message>
  std::pair<Answer, std::string> ask(const Actor& actor, Message message) {
    std::pair<Answer, std::string> result;
    self->request(actor, within, std::move(message))
        .receive([&](const Answer& answer) { result.first = answer; },
                 [&](const caf::error& error) { result.second = caf::to_string(error); });
    return result;
  }

  /// Fetched with the values that the critic says now.
  void take(std::uint64_t id) {
    process_group group;
    group.group = id;
    group.columns = {data->publish(tests::rollout_columns())};
    const auto [added, error] = ask<group_columns>(valued, group);
    CHECK(error.empty());
    group.columns.push_back(added.columns);
    group.columns.push_back(data->publish(tests::reward_columns()));
    CHECK(ask<group_fetched>(trained, fetch_group{id, 1, group.columns}).second.empty());
  }

  std::string folder(const char* name) {
    std::filesystem::create_directory(scratch / name);
    return (scratch / name).string();
  }
};

std::string weights_in(const std::string& checkpoint) {
  return tests::read_file(std::filesystem::path(checkpoint) / "critic/model/model.safetensors");
}

} // namespace

TEST_CASE("a critic says with its values how many updates it has had, and an earlier one says the same again") {
  const auto p = with_critic();
  critic_learning critic(*p, table_of(*p), "", 1);
  const column_set columns({tests::rollout_columns()});
  const auto train = [&](std::uint64_t step, bool apply) {
    critic.keep(group_of(critic, step));
    CHECK_FALSE(critic.train({step, 0, {step}}, {}).interrupted);
    critic.end_step({step, apply});
  };
  train(1, true);
  const auto first = critic.value_columns(columns);
  const auto then = critic.snapshot();
  CHECK((origins_in(column_set({first})) == std::map<std::string, train::column_origin>{{"value", {1, 1}}}));
  train(2, false);
  CHECK(critic.origin() == train::column_origin{1, 1});
  train(3, true);
  CHECK(critic.origin() == train::column_origin{2, 1});
  CHECK(value_column(critic.value_columns(columns)) != value_column(first));
  const auto again = critic.value_columns(columns, then);
  CHECK(value_column(again) == value_column(first));
  CHECK((origins_in(column_set({again})) == origins_in(column_set({first}))));
}

TEST_CASE("a critic out of a language model says 0, learns when a step is applied, and forgets what it was trained on") { // CT-2, CT-3
  const auto p = with_critic();
  critic_learning critic(*p, table_of(*p), "", 1);
  CHECK(values_of(critic) == std::vector<float>{0, 0, 0, 0});
  critic.keep(group_of(critic, 1));
  const auto report = critic.train({1, 0, {1}}, {});
  CHECK(report.trained_tokens == 0);
  CHECK(report.metrics.at("critic/vf_loss") > 0);
  critic.end_step({2, true}); // another step's end is none of this one's
  CHECK(values_of(critic) == std::vector<float>{0, 0, 0, 0});
  critic.train({1, 0, {1}}, {});
  critic.end_step({1, false});
  CHECK(values_of(critic) == std::vector<float>{0, 0, 0, 0});
  critic.train({1, 0, {1}}, {}); // the group is still there
  critic.end_step({1, true});
  CHECK(values_of(critic) != std::vector<float>{0, 0, 0, 0});
  CHECK_THROWS_AS(critic.train({2, 1, {1}}, {}), std::logic_error);
}

TEST_CASE("a critic's checkpoint is a sequence-classification model, and another critic goes on from it bit for bit") {
  const tests::temporary_folder folder;
  const auto p = with_critic();
  critic_learning first(*p, table_of(*p), "", 1);
  const auto step = [](critic_learning& critic, std::uint64_t number) {
    critic.keep(group_of(critic, number));
    critic.train({number, static_cast<std::uint32_t>(number - 1), {number}}, {});
    critic.end_step({number, true});
  };
  step(first, 1);
  first.write_checkpoint(folder.path());
  const auto written = model::load_checkpoint(folder / "critic/model", {.score_head = true});
  CHECK(written.config.score_head);
  CHECK(written.tok);
  critic_learning second(*p, table_of(*p), folder.path(), 1);
  for (auto* critic : {&first, &second})
    step(*critic, 2);
  CHECK(values_of(first) == values_of(second));
  CHECK_THROWS_AS(first.write_checkpoint(folder / "none"), std::exception);
}

TEST_CASE("rewards and reference penalties reach the critic as the policy mixes them") {
  const auto p = std::make_shared<const pipeline::pipeline>(tests::tiny_pipeline(
      {"roles.learner.algorithm=ppo", "roles.learner.from=[\"rules\", \"critic\"]",
       "roles.learner.rewards=[{ name = \"number\", weight = 3.0 }, { name = \"length\", weight = 0.0 }]",
       "roles.learner.algorithm_options.lambda=1"},
      critic_role));
  critic_learning critic(*p, table_of(*p), "", 1);
  const auto& rewards = std::get<pipeline::policy_table>(p->policy().options).rewards;
  static const std::vector<float> number{1, 0}, length{9, 9};
  auto added = transport::bundle_builder().add<float>("reward.number", number).add<float>("reward.length", length).finish();
  auto group = training_group_of(1, column_set({tests::rollout_columns(), std::move(added)}), false, rewards);
  CHECK(group.reward == std::vector<float>{3, 0});
  group.value = {{0, 0, 0}, {0}};
  critic.keep(group);
  CHECK(critic.train({1, 0, {1}}, {}).metrics.at("critic/returns/mean") == doctest::Approx(9.0 / 4)); // 3 3 3 0
}

TEST_CASE("the critic's actor changes at the end of a step only, in the order of asking") { // CT-1, CT-3
  running_critic critic;
  critic.take(1);
  critic.take(2);
  const auto before = critic.folder("before"), kept = critic.folder("kept"), after = critic.folder("after");
  CHECK(critic.ask<checkpoint_written>(critic.trained, write_checkpoint{before}).second.empty());
  const auto [report, failure] = critic.ask<batch_report>(critic.trained, train_batch{1, 0, {1, 2}});
  CHECK(failure.empty());
  CHECK(report.step == 1);
  CHECK(critic.ask<critic_step_ended>(critic.trained, end_critic_step{1, false}).second.empty());
  CHECK(critic.ask<checkpoint_written>(critic.trained, write_checkpoint{kept}).second.empty());
  CHECK(critic.ask<batch_report>(critic.trained, train_batch{1, 0, {1, 2}}).second.empty());
  CHECK(critic.ask<critic_step_ended>(critic.trained, end_critic_step{1, true}).second.empty());
  CHECK(critic.ask<checkpoint_written>(critic.trained, write_checkpoint{after}).second.empty());
  CHECK(weights_in(before) == weights_in(kept));
  CHECK(weights_in(before) != weights_in(after));
  CHECK(critic.ask<batch_report>(critic.trained, train_batch{2, 1, {1, 2}}).second.find("was never fetched") != std::string::npos);
}

TEST_CASE("an interrupted critic answers so, and its groups stay") { // CT-1
  running_critic critic;
  critic.take(1);
  // The interruption arrives while the step waits behind a checkpoint, or during it.
  auto writing = critic.self->request(critic.trained, within, write_checkpoint{critic.folder("first")});
  auto training = critic.self->request(critic.trained, within, train_batch{1, 0, {1}});
  critic.self->send(critic.trained, interrupt_training{1});
  writing.receive([](const checkpoint_written&) {}, [](const caf::error& error) { FAIL(caf::to_string(error)); });
  bool answered = false;
  training.receive([&](const batch_report&) { answered = true; }, [](const caf::error&) {});
  CHECK(answered);
  CHECK(critic.ask<critic_step_ended>(critic.trained, end_critic_step{1, false}).second.empty());
  const auto again = critic.ask<batch_report>(critic.trained, train_batch{1, 0, {1}});
  CHECK(again.second.empty());
  CHECK(!again.first.interrupted);
  critic.self->send(critic.trained, forget_group{1});
  CHECK(!critic.ask<batch_report>(critic.trained, train_batch{1, 0, {1}}).second.empty());
}
