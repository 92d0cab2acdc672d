#include "actors/reward_model.hpp"

#include "runtime/input_error.hpp"
#include "runtime/model/score_head.hpp"
#include "tests/actors/fixture.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/support/eventually.hpp"

#include <ATen/Context.h>
#include <ATen/ops/randn_like.h>

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::actors;

namespace {

/// The tiny chat model with random numbers as its score head.
model::checkpoint judge() {
  auto loaded = model::with_score_head(model::load_checkpoint(tests::tiny_model()));
  at::manual_seed(5);
  for (auto& parameter : loaded.parameters)
    if (parameter.name == "score.weight")
      parameter.tensor = at::randn_like(parameter.tensor);
  return loaded;
}

pipeline::reward_model_table table_of(double mean = 0, double deviation = 1, double clip = 0) {
  pipeline::reward_model_table table;
  table.name = "judge";
  table.mean = mean;
  table.deviation = deviation;
  table.clip = clip;
  return table;
}

stage_result result_of(reward_model& work, const process_group& group, column_set columns) {
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

} // namespace

TEST_CASE("a reward model scores what the policy read and wrote, as reward.<name> and, alone, as reward") {
  const auto model = judge();
  reward_model work(table_of(), model, true, 1);
  const auto result = result_of(work, {}, column_set({tests::rollout_columns()}));
  CHECK(result.error.empty());
  const std::vector<std::int32_t> prompt{5, 6, 7};
  const std::vector<std::vector<std::int32_t>> answers{{10, 11, 12}, {20}};
  const auto want = model::answer_scores(model::decoder(model.config, model.parameters), prompt, answers);
  CHECK(want[0] != want[1]);
  CHECK(floats(result.added, "reward.judge") == want);
  CHECK(floats(result.added, "reward") == want);
  CHECK(result.summary.at("reward.judge") == doctest::Approx((want[0] + want[1]) / 2));
  auto beside = table_of();
  beside.alone = false;
  reward_model other(beside, model, true, 1);
  CHECK(!result_of(other, {}, column_set({tests::rollout_columns()})).added.has("reward"));
}

TEST_CASE("a score is brought to its mean and deviation, then cut") {
  CHECK(reward_model::reward_of(table_of(), 3) == 3);
  CHECK(reward_model::reward_of(table_of(1, 4), 3) == 0.5f);
  CHECK(reward_model::reward_of(table_of(1, 4, 0.25), 3) == 0.25f);
  CHECK(reward_model::reward_of(table_of(1, 4, 0.25), -30) == -0.25f);
}

TEST_CASE("a reward model with a tokenizer of its own reads the conversation by its own template") {
  const auto model = judge();
  reward_model work(table_of(), model, false, 1);
  process_group group;
  group.prompt = {{"user", "1+6"}};
  const auto result = result_of(work, group, column_set({tests::rollout_columns()}));
  CAPTURE(result.error);
  const model::decoder decoder(model.config, model.parameters);
  std::vector<float> want;
  for (const char* text : {"12", "7"}) { // the answers of the columns
    const std::vector<model::message> turns{{"user", "1+6"}, {"assistant", text}};
    const auto ids = model.tok->encode(model.chat->render(turns, false));
    want.push_back(model::answer_scores(decoder, ids, std::vector<std::vector<std::int32_t>>(1)).at(0));
  }
  CHECK(floats(result.added, "reward.judge") == want);
  auto mute = model;
  mute.chat = nullptr;
  mute.chat_source.clear();
  CHECK_THROWS_AS(reward_model(table_of(), mute, false, 1), input_error);
}

TEST_CASE("a text that the reward model cannot take is a complaint about the group, not a failure to try again") {
  reward_model work(table_of(), judge(), true, 1);
  static const std::vector<std::int32_t> prompt(3), lengths{1}, tokens{1 << 20};
  auto columns = transport::bundle_builder()
                     .add<std::int32_t>("prompt_tokens", prompt)
                     .add<std::int32_t>("tokens", tokens)
                     .add<std::int32_t>("lengths", lengths)
                     .finish();
  const auto result = result_of(work, {}, column_set({std::move(columns)}));
  CHECK(result.complaint.find("token 1048576") == 0);
  CHECK(result.error.empty());
}
