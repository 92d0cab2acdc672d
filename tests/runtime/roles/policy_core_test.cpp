#include "runtime/columns/weights_bundle.hpp"
#include "runtime/model/adapter.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/roles/policy_core.hpp"
#include "runtime/roles/policy_metrics.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/text/pattern.hpp"
#include "runtime/train/step_record.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/runtime/train/limited_memory.hpp"
#include "tests/runtime/train/ranks_in_memory.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <future>
#include <random>
#include <regex>
#include <stdexcept>

namespace policy_core_test {

using namespace millrace;
using namespace millrace::roles;

namespace {

/// A group of four answers of one to six tokens with random rewards.
train::training_group some_group(std::uint64_t id) {
  std::mt19937_64 random(id);
  train::training_group group;
  group.id = id;
  group.prompt = {3, 4, 5};
  for (int a = 0; a < 4; ++a) {
    auto& answer = group.answers.emplace_back(1 + random() % 6);
    for (auto& token : answer)
      token = static_cast<std::int32_t>(random() % 300);
    group.behaviour_logprob.emplace_back(answer.size(), -5.0f);
    group.version.emplace_back(answer.size(), 0u);
    group.reward.push_back(static_cast<float>(random() % 3));
  }
  return group;
}

bool same(const transport::bundle& a, const transport::bundle& b) {
  return a.checksums() == b.checksums();
}

/// Groups 10 * step and 10 * step + 1, as version step - 1 trained them.
batch_report train_step(policy_core& learner, std::uint64_t step) {
  for (const auto id : {10 * step, 10 * step + 1})
    learner.keep(some_group(id));
  return learner.train(
      {.step = step, .version = static_cast<std::uint32_t>(step - 1), .groups = {10 * step, 10 * step + 1}}, {});
}

} // namespace

TEST_CASE("every linear layer that can get an adapter is one that the check of lora.targets knows") {
  for (const char* family : {"llama", "qwen2", "qwen3"}) {
    CAPTURE(family);
    const auto layers =
        model::new_adapter(tests::random_weights(tests::tiny_config(family), 1, at::kFloat, false), 1, 1, "", 1);
    CHECK(layers.parameters.size() >= 14);
    for (const auto& half : layers.parameters) {
      const std::string layer = half.name.substr(0, half.name.find(".lora_"));
      CHECK(pipeline::built_in_vocabulary().layers_mistake('^' + text::escaped_pattern(layer) + '$') == "");
    }
  }
}

TEST_CASE("a step trains its groups once and makes the next version") { // PO-2
  policy_core learner(tests::tiny_pipeline(), "", 1);
  const auto before = learner.snapshot(0);
  const auto report = train_step(learner, 1);
  CHECK(report.step == 1);
  CHECK(!report.interrupted);
  CHECK(!report.skipped);
  std::int64_t tokens = 0;
  for (const auto id : {10, 11})
    for (const auto& answer : some_group(static_cast<std::uint64_t>(id)).answers)
      tokens += static_cast<std::int64_t>(answer.size());
  CHECK(report.trained_tokens == tokens);
  CHECK(!same(learner.snapshot(1), before));
  CHECK_THROWS_AS(learner.snapshot(0), std::logic_error);
  CHECK_THROWS_WITH_AS(learner.train({.step = 2, .version = 1, .groups = {10}}, {}), "group 10 was never fetched",
                       std::logic_error);
}

namespace {

/// A version's parameters, as a role of the same process pulls them.
model::weights pulled(transport::data_plane& data, const weight_shares& shares) {
  std::promise<std::pair<columns::pulled_weights, std::string>> arrived;
  columns::pull_weights(data, shares, std::chrono::seconds(20), [&](auto found, auto error) {
    arrived.set_value({std::move(found), std::move(error)});
  });
  const auto [found, error] = arrived.get_future().get();
  CHECK(error == "");
  return columns::weights_of(found);
}

} // namespace

TEST_CASE("a version stands in the memory in which it is trained, which it keeps as long as somebody has it") {
  policy_core learner(tests::tiny_pipeline(), "", 1);
  const auto data = tests::data_plane_of(1);
  published_versions versions(data, 1);
  auto first = pulled(*data, learner.publish(0, versions));
  const auto then = columns::bundle_of(first); // a copy
  train_step(learner, 1);
  CHECK(same(columns::bundle_of(first), then));
  CHECK(!same(learner.snapshot(1), then));

  auto second = pulled(*data, learner.publish(1, versions));
  CHECK(same(columns::bundle_of(second), learner.snapshot(1)));
  const auto* const place = second[0].tensor.const_data_ptr();
  CHECK(first[0].tensor.const_data_ptr() != place);
  second.clear();
  versions.let_go({.version = 1});
  train_step(learner, 2); // in place
  const auto third = pulled(*data, learner.publish(2, versions));
  CHECK(third[0].tensor.const_data_ptr() == place);
  CHECK(same(columns::bundle_of(third), learner.snapshot(2)));
}

TEST_CASE("versions are copied for whoever is in another process, rounds them, follows them or wants what differs") {
  const auto in_place = [](const std::vector<std::string>& overrides) {
    return taken_in_place(tests::tiny_pipeline(overrides));
  };
  CHECK(in_place({}));
  CHECK(in_place({"placement.rules.processes=1"})); // takes no weights
  CHECK_FALSE(in_place({"placement.rollout.processes=1"}));
  CHECK_FALSE(in_place({"placement.learner.processes=1"}));
  CHECK_FALSE(in_place({"models.tiny.dtype=bfloat16"}));
  CHECK_FALSE(in_place({"roles.learner.publish_deltas=true"}));
}

TEST_CASE("a report shows tokens of its groups, with what the policy gave them before its first update") {
  policy_core learner(tests::tiny_pipeline(), "", 1);
  const auto report = train_step(learner, 1);
  REQUIRE(report.shown.size() == 2);
  CHECK(report.shown[0].group == 10);
  policy_core twice(tests::tiny_pipeline({"roles.learner.updates_per_batch=2", "roles.learner.epochs=2"}), "", 1);
  const auto with_old_pass = train_step(twice, 1); // of its own, before the updates
  REQUIRE(with_old_pass.shown.size() == 2);
  for (const std::size_t g : {0, 1}) {
    const auto group = some_group(report.shown[g].group);
    REQUIRE(report.shown[g].answers.size() == group.answers.size());
    for (std::size_t i = 0; i < group.answers.size(); ++i) {
      const auto& answer = report.shown[g].answers[i];
      CHECK(answer.logprob == group.behaviour_logprob[i]);
      REQUIRE(answer.policy_logprob.size() == group.answers[i].size());
      for (std::size_t t = 0; t < answer.policy_logprob.size(); ++t) {
        CHECK(answer.policy_logprob[t] < 0);
        if (g == 0) // the second group is another update's
          CHECK(with_old_pass.shown[g].answers[i].policy_logprob[t] == doctest::Approx(answer.policy_logprob[t]));
      }
    }
  }
}

TEST_CASE("a step in parts makes one version, and what it says at its end is of all of them") {
  policy_core parts(tests::tiny_pipeline(), "", 1);
  const auto before = parts.snapshot(0);
  for (const auto id : {10, 11, 12})
    parts.keep(some_group(static_cast<std::uint64_t>(id)));
  const auto first = parts.train({.step = 1, .version = 0, .groups = {10}, .part = 0, .ends_step = false}, {});
  CHECK(first.metrics.empty());
  CHECK(first.trained_tokens > 0);
  CHECK(same(parts.snapshot(0), before)); // PO-3
  CHECK_THROWS_AS(parts.snapshot(1), std::logic_error);
  const tests::temporary_folder folder;
  parts.write_checkpoint(folder.path());
  policy_core resumed(tests::tiny_pipeline(), folder.path(), 1);
  CHECK(same(resumed.snapshot(0), before));
  std::stop_source stop;
  stop.request_stop();
  CHECK(parts.train({.step = 1, .version = 0, .groups = {11}, .part = 1, .ends_step = false}, stop.get_token())
            .interrupted);
  for (auto* learner : {&parts, &resumed}) {
    for (const auto id : {11, 12})
      learner->keep(some_group(static_cast<std::uint64_t>(id)));
    learner->train({.step = 1, .version = 0, .groups = {11}, .part = 1, .ends_step = false}, {});
    const auto last = learner->train({.step = 1, .version = 0, .groups = {12}, .part = 2, .ends_step = true}, {});
    CHECK(last.metrics.at("updates") == 3);
    double reward = 0, tokens = 0;
    for (const auto id : {10, 11, 12}) {
      const auto group = some_group(static_cast<std::uint64_t>(id));
      for (std::size_t a = 0; a < 4; ++a) {
        reward += group.reward[a] / 12;
        tokens += static_cast<double>(group.answers[a].size()) / 12;
      }
    }
    CHECK(last.metrics.at("reward") == doctest::Approx(reward));
    CHECK(last.metrics.at("response_length/mean") == doctest::Approx(tokens));
  }
  CHECK(same(parts.snapshot(1), resumed.snapshot(1)));
}

TEST_CASE("a step whose other groups were lost ends with the parts it had") {
  policy_core learner(tests::tiny_pipeline(), "", 1);
  learner.keep(some_group(10));
  const auto first = learner.train({.step = 1, .version = 0, .groups = {10}, .part = 0, .ends_step = false}, {});
  const auto last = learner.train({.step = 1, .version = 0, .groups = {}, .part = 1, .ends_step = true}, {});
  CHECK(last.trained_tokens == 0);
  CHECK(last.metrics.at("updates") == 1);
  learner.snapshot(1);
  const auto recorded = train::step_record_from(last.step_record);
  CHECK(recorded.ends_step);
  CHECK(recorded.part == 1);
  CHECK(recorded.groups.empty());
}

TEST_CASE("what is too old is counted as masked, and the rest as trained") {
  policy_core learner(tests::tiny_pipeline(), "", 1);
  auto old = some_group(10);
  old.version[0].assign(old.answers[0].size(), 1);
  const auto of_first = static_cast<std::int64_t>(old.answers[0].size());
  std::int64_t all = 0;
  for (const auto& answer : old.answers)
    all += static_cast<std::int64_t>(answer.size());
  learner.keep(old);
  const auto report = learner.train({.step = 3,
                                     .version = 2,
                                     .groups = {10},
                                     .part = 0,
                                     .ends_step = true,
                                     .mask = age_mask::answers,
                                     .train_from = 1},
                                    {});
  CHECK(report.trained_tokens == of_first);
  CHECK(report.masked_tokens == all - of_first);
  CHECK(report.metrics.at("staleness/max") == 1);
  CHECK(report.metrics.at("staleness/1/tokens") == of_first);
  CHECK(report.metrics.at("staleness/1/reward") == old.reward[0]);
  CHECK(!report.metrics.contains("staleness/2/tokens"));
}

TEST_CASE("an interrupted step changes nothing and keeps its groups") {
  policy_core learner(tests::tiny_pipeline(), "", 1), calm(tests::tiny_pipeline(), "", 1);
  const auto before = learner.snapshot(0);
  for (const auto id : {10, 11})
    learner.keep(some_group(static_cast<std::uint64_t>(id)));
  std::stop_source stop;
  stop.request_stop();
  CHECK(learner.train({.step = 1, .version = 0, .groups = {10, 11}}, stop.get_token()).interrupted);
  CHECK(same(learner.snapshot(0), before));
  CHECK(!learner.train({.step = 1, .version = 0, .groups = {10, 11}}, {}).interrupted);
  train_step(calm, 1);
  CHECK(same(learner.snapshot(1), calm.snapshot(1)));
}

TEST_CASE("a step whose loss is not finite is skipped, uses its groups up and still makes a version") {
  auto p = tests::tiny_pipeline();
  for (auto& role : p.roles)
    if (auto* policy = std::get_if<pipeline::policy_table>(&role.options)) {
      policy->loss.kl_coefficient = 1e38;
      policy->loss.kl_estimator = "k2";
    }
  policy_core learner(p, "", 1);
  const auto before = learner.snapshot(0);
  auto group = some_group(10);
  for (const auto& answer : group.answers)
    group.ref_logprob.emplace_back(answer.size(), -1e30f);
  learner.keep(group);
  const auto report = learner.train({.step = 1, .version = 0, .groups = {10}}, {});
  CHECK(report.skipped);
  CHECK(!report.complaint.empty());
  CHECK(same(learner.snapshot(1), before));
  CHECK_THROWS_AS(learner.train({.step = 2, .version = 1, .groups = {10}}, {}), std::logic_error);
}

namespace {

/// That tensors take at most while a first step trains.
std::int64_t bytes_of_step(const pipeline::pipeline& p) {
  tests::limited_memory memory;
  policy_core learner(p, "", 1);
  const auto before = memory.live();
  memory.take_peak();
  train_step(learner, 1);
  return memory.take_peak() - before;
}

} // namespace

TEST_CASE("a step that runs out of memory says so once, counts it, and its record says how it was cut") {
  const auto p = tests::tiny_pipeline({"roles.learner.activation_checkpointing=true"});
  const auto peak = bytes_of_step(p);
  tests::limited_memory memory;
  policy_core learner(p, "", 1);
  memory.limit(memory.live() + peak - 1);
  const auto report = train_step(learner, 1);
  memory.lift();
  CHECK(report.complaint.find("memory ran out over a micro-batch of ") == 0);
  CHECK(report.complaint.find("from now on one is fed ") != std::string::npos);
  CHECK(!report.skipped);
  CHECK(report.metrics.at("train/memory_ran_out") == 1);
  const auto cuts = train::step_record_from(report.step_record).cuts;
  REQUIRE(cuts.size() == 1);
  CHECK(cuts[0] < 2048);
  const auto next = train_step(learner, 2);
  CHECK(next.complaint == "");
  CHECK(next.metrics.at("train/memory_ran_out") == 0);
  CHECK(train::step_record_from(next.step_record).cuts == cuts);
}

TEST_CASE("a sequence that is too large for the memory ends its step with one line") {
  const auto p = tests::tiny_pipeline({"roles.learner.activation_checkpointing=true"});
  const auto peak = bytes_of_step(p);
  tests::limited_memory memory;
  policy_core learner(p, "", 1);
  memory.limit(memory.live() + peak / 8);
  CHECK_THROWS_WITH_AS(train_step(learner, 1), doctest::Contains("step 1: memory ran out over group 1"),
                       train::too_large);
}

#ifndef __SANITIZE_ADDRESS__ // which needs memory of its own for whatever happens
TEST_CASE("a version that the system has no memory for is refused with one line") {
  policy_core learner(tests::tiny_pipeline({"placement.rollout.processes=1"}), "", 1);
  published_versions versions(tests::data_plane_of(1), 1);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
  const rlimit none{.rlim_cur = 1, .rlim_max = before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_AS, &none) == 0);
  std::string line;
  try {
    learner.publish(0, versions);
  } catch (const train::too_large& why) {
    line = why.what();
  }
  REQUIRE(::setrlimit(RLIMIT_AS, &before) == 0);
  CHECK(line.starts_with("memory ran out over the copy of the weights that rollouts pull, twice"));
  CHECK(!learner.publish(0, versions).tickets.empty());
}
#endif

TEST_CASE("a forgotten group is gone") {
  policy_core learner(tests::tiny_pipeline(), "", 1);
  learner.keep(some_group(10));
  learner.forget(10);
  learner.forget(11);
  CHECK_THROWS_AS(learner.train({.step = 1, .version = 0, .groups = {10}}, {}), std::logic_error);
}

TEST_CASE("training goes on from a checkpoint bit for bit") {
  const tests::temporary_folder folder;
  const auto p = tests::tiny_pipeline();
  policy_core whole(p, "", 1);
  train_step(whole, 1);
  train_step(whole, 2);
  whole.write_checkpoint(folder.path());
  policy_core resumed(p, folder.path(), 1);
  CHECK(resumed.parameter_count() == whole.parameter_count());
  CHECK(same(resumed.snapshot(2), whole.snapshot(2)));
  const auto a = train_step(whole, 3), b = train_step(resumed, 3);
  CHECK(a.metrics.at("actor/pg_loss") == b.metrics.at("actor/pg_loss"));
  CHECK(same(resumed.snapshot(3), whole.snapshot(3)));
}

TEST_CASE("the chat template that a pipeline names ends the turns of every role, and of the model that is saved") {
  // A folder whose files name token 0 as the only end, and whose template is of no known family.
  const tests::temporary_folder folder;
  const auto source = folder / "model", saved = folder / "saved";
  std::filesystem::create_directory(saved);
  std::filesystem::copy(tests::tiny_model(), source);
  for (const char* file : {"config.json", "generation_config.json"})
    tests::write_file(source / file, std::regex_replace(tests::read_file(source / file),
                                                        std::regex("\"eos_token_id\": 2"), "\"eos_token_id\": 0"));
  tests::write_file(source / "tokenizer_config.json", "{}");
  tests::write_file(source / "chat_template.jinja", "{{ messages }}");
  const std::string path = "models.tiny.path=" + source.string();
  const auto p = tests::tiny_pipeline({path, "models.tiny.chat_template=chatml"});
  const std::vector<std::int32_t> both{0, 2};
  CHECK(load_text_model(p, "tiny").config.eos_ids == both); // rollouts, evaluations, demonstrations
  CHECK(model::load_checkpoint(source).config.eos_ids == std::vector<std::int32_t>{0});
  policy_core(p, "", 1).write_checkpoint(saved);
  CHECK(model::load_checkpoint(saved / "model").config.eos_ids == both);
}

TEST_CASE("a checkpoint without its version, or without its optimizer, is refused in one line") {
  const tests::temporary_folder folder;
  const auto p = tests::tiny_pipeline();
  policy_core(p, "", 1).write_checkpoint(folder.path());
  std::filesystem::remove(folder / "version");
  CHECK_THROWS_AS(policy_core(p, folder.path(), 1), input_error);
  std::filesystem::remove_all(folder / "optimizer");
  CHECK_THROWS_AS(policy_core(p, folder.path(), 1), input_error);
}

TEST_CASE("a step with masked answers trains the others and says how many tokens it left out") {
  policy_core learner(tests::tiny_pipeline(), "", 1);
  auto one = some_group(1), other = some_group(2);
  const auto tokens = [](const train::training_group& group) {
    std::int64_t count = 0;
    for (const auto& answer : group.answers)
      count += static_cast<std::int64_t>(answer.size());
    return count;
  };
  const auto all = tokens(one) + tokens(other);
  one.masked_tokens = static_cast<std::int64_t>(one.answers[0].size());
  one.answers[0].clear();
  one.behaviour_logprob[0].clear();
  one.version[0].clear();
  learner.keep(one);
  learner.keep(other);
  const auto report = learner.train({.step = 1, .version = 0, .groups = {1, 2}}, {});
  CHECK_FALSE(report.skipped);
  CHECK(report.trained_tokens + report.masked_tokens == all);
  CHECK(report.masked_tokens == one.masked_tokens);
}

TEST_CASE("ranks that hold shares of the parameters publish them, each its own, and they make up the version") {
  const auto p = tests::tiny_pipeline();
  policy_core alone(p, "", 1);
  tests::ranks_in_memory team(2);
  const auto seat = [&](int rank) { return train::team_seat{{rank, 2, sharding::full}, team.link(rank)}; };
  const auto first = tests::data_plane_of(1), second = tests::data_plane_of(2);
  first->add_peer(2, second->address());
  second->add_peer(1, first->address());
  auto other = std::async(std::launch::async, [&] {
    policy_core core(p, "", 1, seat(1));
    core.do_errands(std::make_shared<published_versions>(second, 1));
    core.follow();
  });
  {
    policy_core leader(p, "", 1, seat(0));
    published_versions versions(first, 1);
    for (std::uint64_t step = 1; step <= 2; ++step) {
      train_step(alone, step);
      train_step(leader, step);
      const auto version = static_cast<std::uint32_t>(step);
      const auto shares = leader.publish(version, versions);
      REQUIRE(shares.tickets.size() == 2);
      CHECK(shares.tickets[0].owner == 1);
      CHECK(shares.tickets[1].owner == 2);
      CHECK(shares.tickets[1].bytes > 0);
      std::promise<std::pair<columns::pulled_weights, std::string>> arrived;
      columns::pull_weights(*first, shares, std::chrono::seconds(20), [&](auto pulled, auto error) {
        arrived.set_value({std::move(pulled), std::move(error)});
      });
      const auto [pulled, error] = arrived.get_future().get();
      CHECK(error == "");
      CHECK(same(columns::bundle_of(columns::weights_of(pulled)), alone.snapshot(version)));
    }
    CHECK_THROWS_AS(leader.publish(7, versions), std::logic_error);
    team.end();
  }
  other.get();
}

TEST_CASE("a mismatch of rollout and learner beyond a tenth of the clip range names the corrections") {
  train::step_report report;
  CHECK(mismatch_complaint_of(report).empty());
  report.mismatch_tokens = 100;
  report.mismatch_sum = 2;
  CHECK(mismatch_complaint_of(report).empty());
  report.mismatch_sum = 2.5;
  CHECK(
      mismatch_complaint_of(report)
      == "log-probabilities of rollout and learner differ by 0.025 nats a token for the same weights, more than 0.02; "
         "loss.corrections that bound what this does: truncated, masked, icepop, rejection");
}

} // namespace policy_core_test
