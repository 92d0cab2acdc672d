#include "runtime/columns/column_builder.hpp"
#include "runtime/columns/column_origin.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/roles/critic_role.hpp"
#include "tests/runtime/roles/ask.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/runtime/train/limited_memory.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/core/Tensor.h>
#include <doctest/doctest.h>

#include <stdexcept>

namespace critic_role_test {

using namespace millrace;
using namespace millrace::roles;

namespace {

const std::string critic_toml = R"(
[roles.critic]
kind = "critic"
from = ["rollout"]
model = "tiny"
threads = 1
optimizer = { lr = 1e-2 }
)";

std::shared_ptr<const pipeline::pipeline> with_critic() {
  return std::make_shared<const pipeline::pipeline>(
      tests::tiny_pipeline({"roles.learner.algorithm=ppo", "roles.learner.from=[\"rules\", \"critic\"]"}, critic_toml));
}

const pipeline::critic_table& table_of(const pipeline::pipeline& p) {
  return std::get<pipeline::critic_table>(p.at("critic").options);
}

train::training_group group_of(const critic_core& critic, std::uint64_t id) {
  auto group = columns::training_group_of(id, columns::column_set({tests::rollout_columns(), tests::reward_columns()}));
  const auto values = critic.values(group.prompt, group.answers);
  group.value = {{values[0], values[1], values[2]}, {values[3]}};
  return group;
}

std::vector<float> values_of(const critic_core& critic) {
  return critic.values(std::vector<std::int32_t>{5, 6, 7}, std::vector<std::vector<std::int32_t>>{{10, 11, 12}, {20}});
}

/// A critic's role over the tiny model.
struct running_critic {
  tests::temporary_folder scratch;
  std::shared_ptr<transport::data_plane> data = tests::data_plane_of(1);
  std::shared_ptr<const pipeline::pipeline> p = with_critic();
  critic_role role{{.pipeline = p, .who = {"critic", 0, 1}, .data = data}, table_of(*p)};

  /// Fetched with the values that the critic says now.
  void take(std::uint64_t id) {
    const auto [added, error] = tests::add(role, columns::column_set(tests::rollout_columns()));
    CHECK(error.empty());
    const fetch_group ask{
        .group = id,
        .attempt = 1,
        .columns = {data->publish(tests::rollout_columns()), data->publish(added.columns),
                    data->publish(tests::reward_columns())},
        .domain = {},
    };
    CHECK(tests::ask(role, &critic_role::fetch, ask).second.empty());
    CHECK(role.keeps(id));
  }

  std::string folder(const char* name) {
    std::filesystem::create_directory(scratch / name);
    return (scratch / name).string();
  }

  std::pair<batch_report, std::string> train(std::uint64_t step, std::uint32_t version,
                                             std::vector<std::uint64_t> groups) {
    return tests::ask(role, &critic_role::train, {.step = step, .version = version, .groups = std::move(groups)});
  }

  bool writes(const std::string& into) { return tests::ask(role, &critic_role::write, {into}).second.empty(); }
};

std::string weights_in(const std::string& checkpoint) {
  return tests::read_file(std::filesystem::path(checkpoint) / "critic/model/model.safetensors");
}

} // namespace

TEST_CASE("a critic says with its values how many updates it has had, and an earlier one says the same again") {
  const auto p = with_critic();
  critic_core critic(*p, table_of(*p), "", 1);
  const columns::column_set columns(tests::rollout_columns());
  const auto train = [&](std::uint64_t step, bool apply) {
    critic.keep(group_of(critic, step));
    CHECK_FALSE(critic.train({.step = step, .version = 0, .groups = {step}}, {}).interrupted);
    critic.end_step({.step = step, .apply = apply});
  };
  train(1, true);
  const auto first = critic.value_columns(columns);
  const auto then = critic.snapshot();
  CHECK((columns::origins_in(columns::column_set(first))
         == std::map<std::string, train::column_origin>{{"value", {1, 1}}}));
  train(2, false);
  CHECK(critic.origin() == train::column_origin{1, 1});
  train(3, true);
  CHECK(critic.origin() == train::column_origin{2, 1});
  CHECK(tests::values(critic.value_columns(columns), column::value) != tests::values(first, column::value));
  const auto again = critic.value_columns(columns, then);
  CHECK(tests::values(again, column::value) == tests::values(first, column::value));
  CHECK((columns::origins_in(columns::column_set(again)) == columns::origins_in(columns::column_set(first))));
}

TEST_CASE("a critic that runs out of memory says so, and how its step was cut") {
  auto p = *with_critic();
  auto table = table_of(p);
  table.activation_checkpointing = true;
  const auto train = [&](tests::limited_memory& memory, std::int64_t bytes) {
    critic_core critic(p, table, "", 1);
    critic.keep(group_of(critic, 1));
    const auto before = memory.live();
    memory.take_peak();
    if (bytes > 0)
      memory.limit(before + bytes);
    auto report = critic.train({.step = 1, .version = 0, .groups = {1}}, {});
    memory.lift();
    return std::pair(std::move(report), memory.take_peak() - before);
  };
  tests::limited_memory memory;
  const auto [whole, peak] = train(memory, 0);
  CHECK(whole.critic_cut == 0);
  const auto report = train(memory, peak - 1).first;
  CHECK(report.complaint.find("the critic: memory ran out over a micro-batch of ") == 0);
  CHECK(report.metrics.at("critic/memory_ran_out") == 1);
  CHECK(report.critic_cut > 0);
  CHECK(report.critic_cut < 2048);
}

TEST_CASE("a critic out of a language model says 0, learns when a step is applied, and forgets what it was trained "
          "on") { // CT-2, CT-3
  const auto p = with_critic();
  critic_core critic(*p, table_of(*p), "", 1);
  CHECK(values_of(critic) == std::vector<float>{0, 0, 0, 0});
  critic.keep(group_of(critic, 1));
  const auto report = critic.train({.step = 1, .version = 0, .groups = {1}}, {});
  CHECK(report.trained_tokens == 0);
  CHECK(report.metrics.at("critic/vf_loss") > 0);
  critic.end_step({.step = 2, .apply = true}); // another step's end is none of this one's
  CHECK(values_of(critic) == std::vector<float>{0, 0, 0, 0});
  critic.train({.step = 1, .version = 0, .groups = {1}}, {});
  critic.end_step({.step = 1, .apply = false});
  CHECK(values_of(critic) == std::vector<float>{0, 0, 0, 0});
  critic.train({.step = 1, .version = 0, .groups = {1}}, {}); // the group is still there
  critic.end_step({.step = 1, .apply = true});
  CHECK(values_of(critic) != std::vector<float>{0, 0, 0, 0});
  CHECK_THROWS_AS(critic.train({.step = 2, .version = 1, .groups = {1}}, {}), std::logic_error);
}

TEST_CASE("a critic's checkpoint is a sequence-classification model, and another critic goes on from it bit for bit") {
  const tests::temporary_folder folder;
  const auto p = with_critic();
  critic_core first(*p, table_of(*p), "", 1);
  const auto step = [](critic_core& critic, std::uint64_t number) {
    critic.keep(group_of(critic, number));
    critic.train({.step = number, .version = static_cast<std::uint32_t>(number - 1), .groups = {number}}, {});
    critic.end_step({.step = number, .apply = true});
  };
  step(first, 1);
  first.write_checkpoint(folder.path());
  const auto written = model::load_checkpoint(folder / "critic/model", {.score_head = true});
  CHECK(written.config.score_head);
  CHECK(written.tok);
  critic_core second(*p, table_of(*p), folder.path(), 1);
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
      critic_toml));
  critic_core critic(*p, table_of(*p), "", 1);
  const auto& rewards = std::get<pipeline::policy_table>(p->policy().options).rewards;
  static const std::vector<float> number{1, 0}, length{9, 9};
  auto added = columns::column_builder()
                   .add(column::reward_of("number"), number)
                   .add(column::reward_of("length"), length)
                   .finish();
  auto group = columns::training_group_of(1, columns::column_set({tests::rollout_columns(), std::move(added)}),
                                          {.rewards = rewards});
  CHECK(group.reward == std::vector<float>{3, 0});
  group.value = {{0, 0, 0}, {0}};
  critic.keep(group);
  CHECK(critic.train({.step = 1, .version = 0, .groups = {1}}, {}).metrics.at("critic/returns/mean")
        == doctest::Approx(9.0 / 4)); // 3 3 3 0
}

TEST_CASE("a critic's role changes at the end of a step only, in the order of asking") { // CT-1, CT-3
  running_critic critic;
  critic.take(1);
  critic.take(2);
  const auto before = critic.folder("before"), kept = critic.folder("kept"), after = critic.folder("after");
  CHECK(critic.role.ends_steps());
  CHECK(critic.writes(before));
  const auto [report, failure] = critic.train(1, 0, {1, 2});
  CHECK(failure.empty());
  CHECK(report.step == 1);
  critic.role.end_step({.step = 1, .apply = false});
  CHECK(critic.writes(kept));
  CHECK(critic.train(1, 0, {1, 2}).second.empty());
  critic.role.end_step({.step = 1, .apply = true});
  CHECK(critic.writes(after));
  CHECK(weights_in(before) == weights_in(kept));
  CHECK(weights_in(before) != weights_in(after));
  CHECK(critic.train(2, 1, {1, 2}).second.find("was never fetched") != std::string::npos);
}

TEST_CASE("an interrupted critic answers so, and its groups stay") { // CT-1
  running_critic critic;
  critic.take(1);
  // The interruption arrives while the step waits behind a checkpoint, or during it.
  const auto writing = tests::asked(critic.role, &critic_role::write, {critic.folder("first")});
  const auto training = tests::asked(critic.role, &critic_role::train, {.step = 1, .version = 0, .groups = {1}});
  critic.role.interrupt({1});
  CHECK(writing.get().second.empty());
  CHECK(training.get().second.empty());
  critic.role.end_step({.step = 1, .apply = false});
  const auto again = critic.train(1, 0, {1});
  CHECK(again.second.empty());
  CHECK(!again.first.interrupted);
  critic.role.forget({1});
  CHECK(!critic.role.keeps(1));
  CHECK(!critic.train(1, 0, {1}).second.empty());
}

TEST_CASE("a critic trains on the policy's targets where it is told them, and says so where they cannot be had") {
  running_critic critic;
  critic.take(1);
  const std::vector<float> targets{1, 2, 3, 4};
  const auto returns = critic.data->publish(columns::column_builder().add(column::returns, targets).finish());
  const train_batch batch{.step = 1, .version = 0, .groups = {1}, .returns = returns};
  const auto [report, error] = tests::ask(critic.role, &critic_role::train, batch);
  CHECK(error.empty());
  CHECK(report.metrics.at("critic/returns/mean") == doctest::Approx(2.5));
  critic.data->release(returns.id);
  CHECK(tests::ask(critic.role, &critic_role::train, batch).second.find("the policy's targets cannot be fetched: ")
        != std::string::npos);
}

} // namespace critic_role_test
