#include "runtime/columns/answer_columns.hpp"
#include "runtime/columns/prompt_columns.hpp"
#include "runtime/columns/weights_bundle.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/replay/replay.hpp"
#include "runtime/roles/group_seed.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/roles/rule_verifier_role.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/roles/ask.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/runtime/train/limited_memory.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace replay_test {

using namespace millrace;

namespace {

/// A recorded step of the tiny pipeline, and what the learner said of it.
struct recorded_run {
  pipeline::pipeline p =
      tests::tiny_pipeline({"roles.learner.activation_checkpointing=true", "roles.learner.compute_dtype=bfloat16"});
  roles::policy_core policy{p, "", 1};
  roles::source_role source{p, *p.of<pipeline::source_table>().at(0), std::nullopt};
  std::vector<train::step_record> record;
  std::vector<batch_report> reports;
  tests::limited_memory& memory;
  std::int64_t step_bytes = 0; ///< that the next step's training may have; 0: all there are
  std::int64_t peak = 0;       ///< that the last one took

  /// Generates, scores and trains two groups.
  void step(std::uint64_t number) {
    const auto& table = std::get<pipeline::rollout_table>(p.at("rollout").options);
    const auto words = roles::load_text_model(p, table.model);
    const roles::rollout_requests requests(p, table, words);
    const auto version = static_cast<std::uint32_t>(number - 1);
    const auto weights = columns::weights_of(policy.snapshot(version));
    rollout::engine engine(model::inference_decoder(words.config, weights, at::kCPU), words.tok, version,
                           requests.engine_options(1));
    roles::rule_verifier_role rules(std::get<pipeline::rule_verifier_table>(p.at("rules").options), {});
    train_batch batch{.step = number, .version = version, .groups = {}};
    for (const std::uint64_t id : {2 * number - 2, 2 * number - 1}) {
      const auto row = source.take(id);
      const auto prompt = columns::prompt_in(columns::column_set(row.columns));
      const auto request = requests.make(
          {.group = id, .answers = 2, .seed = roles::group_seed(static_cast<std::uint64_t>(p.run.seed), id)}, prompt);
      engine.admit(request);
      std::vector<rollout::finished_group> done;
      while (done.empty())
        done = engine.step();
      const auto answers = columns::columns_of(request.prompt, done.front());
      const auto [scored, error] = tests::add(rules, columns::column_set({row.columns, answers}));
      CHECK(error.empty());
      policy.keep(id, columns::column_set({answers, scored.columns}), "");
      batch.groups.push_back(id);
    }
    const auto before = memory.live();
    memory.take_peak();
    if (step_bytes > 0)
      memory.limit(before + step_bytes);
    reports.push_back(policy.train(batch, {}));
    memory.lift();
    peak = memory.take_peak() - before;
    record.push_back(train::step_record_from(reports.back().step_record));
  }
};

} // namespace

TEST_CASE("a recorded run is made again, step after step, and trains to the same figures") {
  tests::limited_memory memory;
  recorded_run run{.memory = memory};
  run.step(1);
  run.step(2);
  replay::replayer again(run.p, run.record, "");
  for (std::size_t i = 0; i < 2; ++i) {
    const auto step = again.step(i);
    CHECK(step.difference.empty());
    CHECK(!step.group);
    CHECK(step.report.trained_tokens == run.reports[i].trained_tokens);
    CHECK(step.report.metrics.at("actor/pg_loss") == run.reports[i].metrics.at("actor/pg_loss"));
    CHECK(step.report.metrics.at("reward") == run.reports[i].metrics.at("reward"));
  }
}

TEST_CASE("a run that memory ran out in is made again as it was cut") {
  tests::limited_memory memory;
  recorded_run free{.memory = memory}, run{.memory = memory};
  free.step(1);
  free.step(2);
  run.step(1);
  run.step_bytes = free.peak - 1;
  run.step(2);
  CHECK(run.record[0].cuts.empty());
  REQUIRE(run.record[1].cuts.size() == 1);
  replay::replayer again(run.p, run.record, "");
  for (std::size_t i = 0; i < 2; ++i) {
    const auto step = again.step(i);
    CHECK(step.difference.empty());
    CHECK(step.report.metrics.at("actor/pg_loss") == run.reports[i].metrics.at("actor/pg_loss"));
    CHECK(step.report.metrics.at("actor/grad_norm") == run.reports[i].metrics.at("actor/grad_norm"));
    CHECK(step.report.metrics.at("micro_batches") == run.reports[i].metrics.at("micro_batches"));
  }
  CHECK(run.reports[1].metrics.at("micro_batches") > free.reports[1].metrics.at("micro_batches"));
}

TEST_CASE("the first group that is not as it was is named") {
  tests::limited_memory memory;
  recorded_run run{.memory = memory};
  run.step(1);
  run.record[0].groups[1].checksum ^= 1;
  const auto step = replay::replayer(run.p, run.record, "").step(0);
  REQUIRE(step.group);
  CHECK(*step.group == 1);
  CHECK(step.difference.find("differ") != std::string::npos);
}

TEST_CASE("a record whose weights nobody made is refused") {
  tests::limited_memory memory;
  recorded_run run{.memory = memory};
  run.step(1);
  auto late = run.record;
  late.push_back(run.record[0]);
  late[1].version = 7;
  replay::replayer again(run.p, late, "");
  CHECK(again.step(0).difference.empty());
  CHECK_THROWS_AS(again.step(1), input_error);
}

} // namespace replay_test
