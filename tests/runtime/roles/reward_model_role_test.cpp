#include "runtime/columns/column_builder.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/roles/reward_model_role.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/runtime/roles/ask.hpp"
#include "tests/runtime/roles/fixture.hpp"

#include <ATen/Context.h>
#include <ATen/ops/randn_like.h>
#include <doctest/doctest.h>

namespace reward_model_role_test {

using namespace millrace;
using namespace millrace::roles;

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

} // namespace

TEST_CASE("a reward model scores what the policy read and wrote, as reward.<name> and, alone, as reward") {
  const auto model = judge();
  reward_model_role work(table_of(), model, reward_model_role::ids::of_policy, 1);
  const auto [result, error] = tests::add(work, columns::column_set(tests::rollout_columns()));
  CHECK(error.empty());
  const std::vector<std::int32_t> prompt{5, 6, 7};
  const std::vector<std::vector<std::int32_t>> answers{{10, 11, 12}, {20}};
  const auto want = model::answer_scores(model::decoder(model.config, model.parameters), prompt, answers);
  CHECK(want[0] != want[1]);
  CHECK(tests::values(result.columns, column::reward_of("judge")) == want);
  CHECK(tests::values(result.columns, column::reward) == want);
  CHECK(result.summary.at("reward.judge").sum == doctest::Approx(want[0] + want[1]));
  auto beside = table_of();
  beside.alone = false;
  reward_model_role other(beside, model, reward_model_role::ids::of_policy, 1);
  CHECK(!tests::add(other, columns::column_set(tests::rollout_columns())).first.columns.has("reward"));
}

TEST_CASE("a score is brought to its mean and deviation, then cut") {
  CHECK(reward_model_role::reward_of(table_of(), 3) == 3);
  CHECK(reward_model_role::reward_of(table_of(1, 4), 3) == 0.5f);
  CHECK(reward_model_role::reward_of(table_of(1, 4, 0.25), 3) == 0.25f);
  CHECK(reward_model_role::reward_of(table_of(1, 4, 0.25), -30) == -0.25f);
}

TEST_CASE("a reward model with a tokenizer of its own reads the conversation by its own template") {
  const auto model = judge();
  reward_model_role work(table_of(), model, reward_model_role::ids::its_own, 1);
  const auto [result, error] =
      tests::add(work, columns::column_set({tests::prompt_columns("1+6"), tests::rollout_columns()}));
  CHECK(error.empty());
  CHECK(work.reads().required
        == column::names(column::prompt, column::prompt_lengths, column::text, column::text_lengths));
  const model::decoder decoder(model.config, model.parameters);
  std::vector<float> want;
  for (const char* text : {"12", "7"}) { // the answers of the columns
    const std::vector<chat_turn> turns{{"user", "1+6"}, {"assistant", text}};
    const auto ids = model.tok->encode(model.chat->render(turns, text::opening::none));
    want.push_back(model::answer_scores(decoder, ids, std::vector<std::vector<std::int32_t>>(1)).at(0));
  }
  CHECK(tests::values(result.columns, column::reward_of("judge")) == want);
  auto mute = model;
  mute.chat = nullptr;
  mute.chat_source.clear();
  CHECK_THROWS_AS(reward_model_role(table_of(), mute, reward_model_role::ids::its_own, 1), input_error);
}

TEST_CASE("a text that the reward model cannot take is a complaint about the group, not a failure to try again") {
  reward_model_role work(table_of(), judge(), reward_model_role::ids::of_policy, 1);
  static const std::vector<std::int32_t> prompt(3), lengths{1}, tokens{1 << 20};
  auto columns = columns::column_builder()
                     .add(column::prompt_tokens, prompt)
                     .add(column::tokens, tokens)
                     .add(column::lengths, lengths)
                     .finish();
  const auto [result, error] = tests::add(work, columns::column_set(std::move(columns)));
  CHECK(result.complaint.find("token 1048576") == 0);
  CHECK(error.empty());
}

} // namespace reward_model_role_test
