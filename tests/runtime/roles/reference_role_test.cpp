#include "runtime/columns/column_origin.hpp"
#include "runtime/columns/weights_bundle.hpp"
#include "runtime/model/answer_logprobs.hpp"
#include "runtime/roles/reference_role.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/runtime/roles/ask.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <vector>

namespace reference_role_test {

using namespace millrace;
using namespace millrace::roles;

TEST_CASE("the reference scores every answer's tokens under the frozen model") {
  const auto config = tests::tiny_config("llama");
  model::checkpoint loaded;
  loaded.config = config;
  loaded.parameters = tests::random_weights(config, 3, at::kFloat, false);
  model::decoder frozen(config, loaded.parameters);
  frozen.pack();
  const reference_core core({}, loaded, 0.7, 1);
  const auto added = core.logprob_columns(columns::column_set(tests::rollout_columns()));
  const std::vector<std::int32_t> prompt{5, 6, 7};
  const std::vector<std::vector<std::int32_t>> answers{{10, 11, 12}, {20}};
  CHECK(tests::values(added, column::ref_logprob) == model::answer_logprobs(frozen, prompt, answers, 0.7, 1));
  CHECK(!added.has("origin.ref_logprob"));
  CHECK_THROWS_AS(core.logprob_columns(columns::column_set(tests::reward_columns())), std::out_of_range);
}

TEST_CASE("a reference that follows the policy refreshes at every k-th version, or averages") { // RF-1
  const auto config = tests::tiny_config("llama");
  model::checkpoint loaded;
  loaded.config = config;
  loaded.parameters = tests::random_weights(config, 3, at::kFloat, false);
  const auto policy = tests::random_weights(config, 4, at::kFloat, false);
  const std::vector<std::int32_t> prompt{5, 6, 7};
  const std::vector<std::vector<std::int32_t>> answers{{10, 11, 12}, {20}};
  const auto logprobs_of = [&](const model::weights& weights) {
    auto model = loaded;
    model.parameters = weights;
    return reference_core({}, model, 1, 1).logprobs(prompt, answers);
  };
  pipeline::reference_table every_three, average;
  every_three.refresh_every = 3;
  average.ema = 0.5;
  CHECK(every_three.follows());
  CHECK(!pipeline::reference_table{}.follows());

  reference_core refreshed(every_three, loaded, 1, 1);
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

  reference_core averaged(average, loaded, 1, 1);
  averaged.follow(2, policy); // two versions at once: a quarter of itself is left
  model::weights mixed;
  for (std::size_t i = 0; i < policy.size(); ++i)
    mixed.push_back({policy[i].name, loaded.parameters[i].tensor * 0.25 + policy[i].tensor * 0.75});
  CHECK(averaged.logprobs(prompt, answers) == logprobs_of(mixed));

  const tests::temporary_folder folder;
  averaged.write_checkpoint(folder.path(), "frozen");
  reference_core resumed(average, loaded, 1, 1);
  resumed.read_checkpoint(folder.path(), "frozen");
  CHECK(resumed.logprobs(prompt, answers) == averaged.logprobs(prompt, answers));
  CHECK(!resumed.wants(2));
  CHECK(resumed.wants(3));
  CHECK_THROWS_AS(averaged.follow(3, {}), std::invalid_argument);
}

TEST_CASE(
    "a reference's role adds what its weights say, takes a version up between two groups, and writes it") { // RF-2
  const auto p = std::make_shared<const pipeline::pipeline>(
      tests::tiny_pipeline({"roles.learner.from=[\"rules\", \"frozen\"]", "roles.learner.loss.kl_coefficient=0.1"}, R"(
[roles.frozen]
kind = "reference"
from = ["rollout"]
model = "tiny"
threads = 1
refresh_every = 1
)"));
  const auto data = tests::data_plane_of(1);
  reference_role role({.pipeline = p, .who = {"frozen", 0, 1}, .data = data},
                      std::get<pipeline::reference_table>(p->at("frozen").options));
  CHECK(role.reads().required == column::names(column::prompt_tokens, column::tokens, column::lengths));
  const auto scored = [&] {
    const auto [added, error] = tests::add(role, columns::column_set(tests::rollout_columns()));
    CHECK(error.empty());
    return added.columns;
  };
  const auto before = scored();
  auto weights = model::load_checkpoint(tests::tiny_model()).parameters;
  for (auto& parameter : weights)
    parameter.tensor = parameter.tensor * 0.5;
  const auto policy = data->publish(columns::bundle_of(weights));
  CHECK(tests::ask(role, &reference_role::take, {.version = 1, .parameters = policy}).first.version == 1);
  const auto after = scored();
  CHECK(tests::values(after, column::ref_logprob) != tests::values(before, column::ref_logprob));
  CHECK(columns::origins_in(columns::column_set(after)).at("ref_logprob") == train::column_origin{1, 0});
  CHECK(tests::add(role, columns::column_set(tests::reward_columns())).second.find("is not among the group's columns")
        != std::string::npos);
  data->release(policy.id);
  CHECK(
      tests::ask(role, &reference_role::take, {.version = 1, .parameters = policy}).second.empty()); // RF-1: not pulled
  CHECK(!tests::ask(role, &reference_role::take, {.version = 2, .parameters = policy}).second.empty());
  const tests::temporary_folder folder;
  CHECK(tests::ask(role, &reference_role::write, {folder.path().string()}).second.empty());
  CHECK(tests::read_file(folder / "reference-frozen/version") == "1\n");
}

} // namespace reference_role_test
