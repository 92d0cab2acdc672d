#include "actors/reference_shell.hpp"
#include "actors/rule_verifier.hpp"

#include "runtime/cluster/actor_config.hpp"
#include "runtime/model/answer_logprobs.hpp"
#include "tests/actors/fixture.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/temporary_folder.hpp"

#include <caf/scoped_actor.hpp>

#include <doctest/doctest.h>

#include <stdexcept>

using namespace millrace;
using namespace millrace::actors;

namespace {

stage_result result_of(stage_work& work, const process_group& group, column_set columns) {
  tests::watched<std::vector<stage_result>> results;
  work.process(group, std::move(columns),
               [&](stage_result result) { results.change([&](auto& all) { all.push_back(std::move(result)); }); });
  REQUIRE(results.wait([](const auto& all) { return !all.empty(); }));
  return results.get().at(0);
}

std::vector<float> floats(const transport::bundle& columns, const char* name) {
  const auto view = columns.view<float>(name);
  return {view.begin(), view.end()};
}

rule_verifier make_verifier() {
  const auto p = tests::tiny_pipeline();
  return rule_verifier(std::get<pipeline::rule_verifier_table>(p.at("rules").options));
}

process_group expecting(std::string answer) {
  process_group group;
  group.group = 4;
  group.attempt = 2;
  group.answer = std::move(answer);
  return group;
}

/// Text columns that disagree about how many answers there are.
transport::bundle misshapen() {
  static const std::vector<std::int32_t> text_lengths{1, 1}, lengths{1};
  static const std::vector<std::uint8_t> finish{0, 0};
  static const std::string text = "12";
  return transport::bundle_builder()
      .add<char>("text", std::span<const char>(text))
      .add<std::int32_t>("text_lengths", text_lengths)
      .add<std::int32_t>("lengths", lengths)
      .add<std::uint8_t>("finish", finish)
      .finish();
}

} // namespace

TEST_CASE("a packed column is cut into its answers, and lengths that do not add up are refused") {
  const std::vector<float> packed{1, 2, 3};
  const std::vector<std::int32_t> lengths{2, 0, 1}, short_one{2}, long_one{4}, negative{4, -1};
  const auto answers = by_answer(std::span(packed), std::span(lengths));
  REQUIRE(answers.size() == 3);
  CHECK(answers[0].size() == 2);
  CHECK(answers[1].empty());
  CHECK(answers[2][0] == 3);
  CHECK_THROWS_WITH_AS(by_answer(std::span(packed), std::span(short_one)), "lengths add up to 2, the column has 3",
                       std::invalid_argument);
  CHECK_THROWS_AS(by_answer(std::span(packed), std::span(long_one)), std::invalid_argument);
  CHECK_THROWS_AS(by_answer(std::span(packed), std::span(negative)), std::invalid_argument);
}

TEST_CASE("only tickets with a wanted column are pulled, and the first error is told once") {
  const auto data = tests::data_plane_of(1);
  const std::vector tickets{data->publish(tests::rollout_columns()), data->publish(tests::reward_columns())};
  const std::vector<std::string> wanted{"reward"};
  tests::watched<std::vector<std::pair<column_set, std::string>>> got;
  const auto keep = [&](column_set columns, std::string error) {
    got.change([&](auto& all) { all.emplace_back(std::move(columns), std::move(error)); });
  };
  pull_columns(*data, tickets, wanted, std::chrono::seconds(5), keep);
  REQUIRE(got.wait([](const auto& all) { return all.size() == 1; }));
  CHECK(got.get()[0].second.empty());
  CHECK(got.get()[0].first.has("reward"));
  CHECK(!got.get()[0].first.has("tokens"));
  for (const auto& ticket : tickets)
    data->release(ticket.id);
  pull_columns(*data, tickets, {}, std::chrono::seconds(5), keep);
  REQUIRE(got.wait([](const auto& all) { return all.size() == 2; }));
  CHECK(!got.get()[1].second.empty());
  pull_columns(*data, {}, {}, std::chrono::seconds(5), keep);
  CHECK(got.get().size() == 3);
}

TEST_CASE("the verifier adds the weighted reward and each rule's own") {
  auto verifier = make_verifier();
  // The texts are "12" and "7", of three tokens and one: number has weight 2, length at most 3 has 0.5.
  const auto result = result_of(verifier, expecting("12"), column_set({tests::rollout_columns()}));
  CHECK(result.error.empty());
  CHECK(result.complaint.empty());
  CHECK(floats(result.added, "reward") == std::vector<float>{2.5f, 0.5f});
  CHECK(floats(result.added, "reward.number") == std::vector<float>{1, 0});
  CHECK(floats(result.added, "reward.length") == std::vector<float>{1, 1});
  CHECK(result.summary.at("reward") == doctest::Approx(1.5));
  CHECK(result.summary.at("reward.number") == doctest::Approx(0.5));
  CHECK(result.summary.at("verifier/errors") == 0);
}

TEST_CASE("a row that cannot be scored at all is a complaint, columns that disagree are an error") {
  auto verifier = make_verifier();
  CHECK(!result_of(verifier, expecting("no number here"), column_set({tests::rollout_columns()})).complaint.empty());
  CHECK(result_of(verifier, expecting("1"), column_set({tests::reward_columns()})).error.find("column 'text") != std::string::npos);
  CHECK(result_of(verifier, expecting("1"), column_set({misshapen()})).error
        == "columns 'text_lengths', 'lengths' and 'finish' have 2, 1 and 2 entries");
}

TEST_CASE("the reference scores every answer's tokens under the frozen model") {
  const auto config = tests::tiny_config(model::family::llama);
  model::checkpoint loaded;
  loaded.config = config;
  loaded.parameters = tests::random_weights(config, 3, at::kFloat, false);
  model::decoder frozen(config, loaded.parameters);
  frozen.pack();
  reference stage({std::make_shared<reference_weights>(pipeline::reference_table{}, loaded, 0.7, 1), std::make_shared<job_thread>()});
  const auto result = result_of(stage, {}, column_set({tests::rollout_columns()}));
  CHECK(result.error.empty());
  const std::vector<std::int32_t> prompt{5, 6, 7};
  const std::vector<std::vector<std::int32_t>> answers{{10, 11, 12}, {20}};
  CHECK(floats(result.added, "ref_logprob") == model::answer_logprobs(frozen, prompt, answers, 0.7, 1));
  CHECK(!result_of(stage, {}, column_set({tests::reward_columns()})).error.empty());
}

TEST_CASE("a reference that follows the policy refreshes at every k-th version, or averages") { // RF-1
  const auto config = tests::tiny_config(model::family::llama);
  model::checkpoint loaded;
  loaded.config = config;
  loaded.parameters = tests::random_weights(config, 3, at::kFloat, false);
  const auto policy = tests::random_weights(config, 4, at::kFloat, false);
  const std::vector<std::int32_t> prompt{5, 6, 7};
  const std::vector<std::vector<std::int32_t>> answers{{10, 11, 12}, {20}};
  const auto logprobs_of = [&](const model::weights& weights) {
    auto model = loaded;
    model.parameters = weights;
    return reference_weights({}, model, 1, 1).logprobs(prompt, answers);
  };
  pipeline::reference_table every_three, average;
  every_three.refresh_every = 3;
  average.ema = 0.5;
  CHECK(every_three.follows());
  CHECK(!pipeline::reference_table{}.follows());

  reference_weights refreshed(every_three, loaded, 1, 1);
  for (const std::uint32_t version : {0, 1, 2})
    CHECK(!refreshed.wants(version));
  refreshed.follow(2, policy);
  CHECK(refreshed.logprobs(prompt, answers) == logprobs_of(loaded.parameters));
  CHECK(refreshed.wants(4)); // version 3 was never published
  refreshed.follow(4, policy);
  CHECK(refreshed.logprobs(prompt, answers) == logprobs_of(policy));
  CHECK(!refreshed.wants(4));
  CHECK(!refreshed.wants(5));
  CHECK(refreshed.wants(6));

  reference_weights averaged(average, loaded, 1, 1);
  averaged.follow(2, policy); // two versions at once: a quarter of itself is left
  model::weights mixed;
  for (std::size_t i = 0; i < policy.size(); ++i)
    mixed.push_back({policy[i].name, loaded.parameters[i].tensor * 0.25 + policy[i].tensor * 0.75});
  CHECK(averaged.logprobs(prompt, answers) == logprobs_of(mixed));

  const tests::temporary_folder folder;
  averaged.write_checkpoint(folder.path(), "frozen");
  reference_weights resumed(average, loaded, 1, 1);
  resumed.read_checkpoint(folder.path(), "frozen");
  CHECK(resumed.logprobs(prompt, answers) == averaged.logprobs(prompt, answers));
  CHECK(!resumed.wants(2));
  CHECK(resumed.wants(3));
  CHECK_THROWS_AS(averaged.follow(3, {}), std::invalid_argument);
}

namespace {

/// Says at once what the test told it to.
struct told_work : stage_work {
  std::function<void(std::function<void(stage_result)>)> how;
  void process(const process_group&, column_set, std::function<void(stage_result)> done) override { how(std::move(done)); }
};

/// A stage's actor in a system of its own, over real tickets.
struct running_stage {
  cluster::actor_config config{[] {
    cluster::actor_options options;
    options.threads = 1;
    return options;
  }()};
  caf::actor_system system{config};
  caf::scoped_actor self{system};
  std::shared_ptr<transport::data_plane> data = tests::data_plane_of(1);
  std::shared_ptr<const pipeline::pipeline> p = std::make_shared<const pipeline::pipeline>(tests::tiny_pipeline());
  stage_shell actor;

  explicit running_stage(std::shared_ptr<stage_work> work)
      : actor(system.spawn(make_stage, role_context{p, {"rules", 0, 1}, 1, data, {}, ""}, std::move(work))) {}
  ~running_stage() {
    self->send_exit(actor, caf::exit_reason::user_shutdown);
    actor = nullptr;
    // The data plane's own thread, where callbacks end, must not be the last to hold it.
    CHECK(tests::eventually([&] { return data.use_count() == 1; }));
  }

  /// The answer's columns, or the line it was refused with.
  std::pair<group_columns, std::string> ask(process_group group) {
    std::pair<group_columns, std::string> result;
    self->request(actor, std::chrono::seconds(10), group)
        .receive([&](const group_columns& answer) { result.first = answer; },
                 [&](const caf::error& error) { result.second = caf::to_string(error); });
    return result;
  }
};

} // namespace

TEST_CASE("a stage answers a group with a ticket to what it added") { // ST-1
  const auto p = tests::tiny_pipeline();
  running_stage stage(
      std::make_shared<rule_verifier>(std::get<pipeline::rule_verifier_table>(p.at("rules").options)));
  auto group = expecting("12");
  group.columns.push_back(stage.data->publish(tests::rollout_columns()));
  const auto [answer, error] = stage.ask(group);
  CHECK(error.empty());
  CHECK(answer.group == 4);
  CHECK(answer.attempt == 2);
  CHECK(answer.summary.at("reward") == doctest::Approx(1.5));
  tests::watched<std::vector<float>> reward;
  stage.data->pull(answer.columns, std::chrono::seconds(5), [&](transport::pull_result pulled) {
    reward.change([&](auto& all) { all = floats(pulled.value, "reward"); });
  });
  CHECK(reward.wait([](const auto& all) { return all == std::vector<float>{2.5f, 0.5f}; }));
}

TEST_CASE("a stage answers exactly once what it cannot pull, what its work fails on and what its work throws on") { // ST-1
  auto work = std::make_shared<told_work>();
  running_stage stage(work);
  auto group = expecting("12");
  group.columns.push_back(stage.data->publish(tests::rollout_columns()));
  const auto live = stage.data->stats().live_tickets;
  work->how = [](auto done) { done({{}, {}, {}, "out of patience"}); };
  CHECK(stage.ask(group).second.find("out of patience") != std::string::npos);
  work->how = [](auto) { throw std::runtime_error("lost its mind"); };
  CHECK(stage.ask(group).second.find("lost its mind") != std::string::npos);
  work->how = [](auto done) { done({{}, {}, "an unusable row", {}}); };
  CHECK(stage.ask(group).first.complaint == "an unusable row");
  CHECK(stage.data->stats().live_tickets == live + 1); // what failed published nothing
  stage.data->release(group.columns[0].id);
  CHECK(stage.ask(group).second.find("bundle") != std::string::npos);
}

TEST_CASE("what ends after its stage's actor is dropped without harm") {
  auto work = std::make_shared<told_work>();
  tests::watched<std::function<void(stage_result)>> kept;
  work->how = [&](auto done) { kept.change([&](auto& f) { f = std::move(done); }); };
  {
    running_stage stage(work);
    auto group = expecting("12");
    group.columns.push_back(stage.data->publish(tests::rollout_columns()));
    stage.self->send(stage.actor, group);
    REQUIRE(kept.wait([](const auto& f) { return static_cast<bool>(f); }));
    stage.self->monitor(stage.actor);
    stage.self->send_exit(stage.actor, caf::exit_reason::user_shutdown);
    bool down = false;
    stage.self->receive([&](const caf::down_msg&) { down = true; }, caf::after(std::chrono::seconds(10)) >> [] {});
    REQUIRE(down);
    kept.get()({{}, {}, {}, "too late"});
    kept.change([](auto& f) { f = nullptr; });
  }
  CHECK(work.use_count() == 1);
}
