#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

namespace loss_table_test {

using namespace millrace;
using pipeline::policy_table;

namespace {

/// A pipeline of this program's own words with a line in the policy's table.
std::string with(const std::string& line) {
  return R"([run]
name = "t"
steps = 10

[models.tiny]
path = "model.gguf"

[roles.prompts]
kind = "source"
generator = { type = "arithmetic" }

[roles.rollout]
kind = "rollout"
from = ["prompts"]
model = "tiny"
max_new_tokens = 48

[roles.rules]
kind = "rule_verifier"
from = ["rollout"]
rules = [ { type = "exact" } ]

[schedule]
groups_per_step = 4

[roles.learner]
kind = "policy"
from = ["rules"]
model = "tiny"
publishes_to = ["rollout"]
)" + line + '\n';
}

const policy_table& policy_of(const pipeline::pipeline& p) {
  return std::get<policy_table>(p.policy().options);
}

pipeline::pipeline parsed(const std::string& text) {
  static const test::pipeline_folder folder;
  return pipeline::parse_pipeline(text, "t.toml", folder.path());
}

void check_refused(const std::string& line, const std::string& words) {
  CAPTURE(line);
  CHECK_THROWS_WITH_AS(parsed(with(line)), doctest::Contains(words.c_str()), pipeline::pipeline_errors);
}

} // namespace

TEST_CASE("a policy that names no loss has its algorithm's aggregation and truncated importance weights") {
  const auto p = parsed(with("algorithm = \"grpo\""));
  const auto& loss = policy_of(p).loss;
  CHECK(loss.aggregation == "token_mean");
  CHECK(loss.fixed_length == 48); // the rollout's max_new_tokens
  CHECK(loss.proximal == "recomputed");
  REQUIRE(loss.corrections.size() == 1);
  CHECK(loss.corrections[0].type == "truncated");
  CHECK(std::get<double>(loss.corrections[0].options.at("cap")) == 2);
  CHECK(std::get<std::string>(loss.corrections[0].options.at("level")) == "token");
}

TEST_CASE("no correction: an empty list; and an algorithm that weighs stale tokens itself gets none") {
  CHECK(policy_of(parsed(with("loss = { corrections = [] }"))).loss.corrections.empty());
  CHECK(policy_of(parsed(with("algorithm = \"topr\""))).loss.corrections.empty());
}

TEST_CASE("corrections compose, with presets as defaults and keys over them") {
  const auto p = parsed(with("loss = { aggregation = \"fixed_length\", proximal = \"log_linear\", corrections = [ { "
                             "type = \"icepop\", preset = \"prime_rl\", high = 4.0 }, "
                             "{ type = \"truncated\", level = \"sequence\" }, { type = \"m2po\" } ] }"));
  const auto& corrections = policy_of(p).loss.corrections;
  REQUIRE(corrections.size() == 3);
  CHECK(std::get<double>(corrections[0].options.at("low")) == 0.2);
  CHECK(std::get<double>(corrections[0].options.at("high")) == 4);
  CHECK(std::get<std::string>(corrections[1].options.at("level")) == "sequence");
  CHECK(std::get<double>(corrections[2].options.at("threshold")) == 0.04);
}

TEST_CASE("the resolved file says every correction and gives the same pipeline again") {
  for (const char* line :
       {"algorithm = \"grpo\"", "loss = { corrections = [] }",
        "loss = { corrections = [ { type = \"masked\", preset = \"areal\" } ] }",
        "updates_per_batch = 4\nepochs = 2\ntarget_kl = 0.1\nloss = { entropy_coefficient = 0.01 }"}) {
    CAPTURE(line);
    const auto p = parsed(with(line));
    const auto again = parsed(pipeline::resolved_toml(p));
    CHECK(again == p);
    CHECK(policy_of(again) == policy_of(p));
  }
}

TEST_CASE("mistakes of a loss are named with their place") {
  check_refused("loss = { importance_cap = 2.0 }",
                "t.toml:31:10: unknown key \"importance_cap\" in [roles.learner.loss]");
  check_refused("loss = { corrections = [ { type = \"icepopp\" } ] }", "did you mean \"icepop\"");
  check_refused("loss = { corrections = [ { type = \"icepop\", preset = \"prime\" } ] }",
                "roles.learner.loss.corrections.0.preset: found \"prime\", want one of paper, prime_rl, slime, verl");
  check_refused("loss = { corrections = [ { type = \"opsm\", cap = 1.0 } ] }", "unknown key \"cap\"");
  check_refused("loss = { corrections = [ { type = \"icepop\", low = 5.0, high = 1.0 } ] }",
                "low: found 5 with high = 1, want at most high");
  check_refused("loss = { corrections = [ { type = \"truncated\", level = \"word\" } ] }",
                "level: found \"word\", want one of");
  check_refused("loss = { proximal = \"new\" }", "roles.learner.loss.proximal: found \"new\", want one of");
  check_refused("loss = { aggregation = \"mean\" }", "roles.learner.loss.aggregation: found \"mean\", want one of");
  check_refused("loss = { kl_target = 0.1 }", "kl_target: found 0.1 with kl_coefficient = 0");
  check_refused("epochs = 0", "roles.learner.epochs: found 0, want an integer from 1");
}

TEST_CASE("a clamp that could do nothing is refused") {
  const char* reference = "[roles.frozen]\nkind = \"reference\"\nfrom = [\"rollout\"]\nmodel = \"tiny\"\n";
  const auto mistakes = [&](const std::string& line) -> std::string {
    auto text = with(line) + reference;
    text = test::changed(text, "from = [\"rules\"]", "from = [\"rules\", \"frozen\"]");
    try {
      parsed(text);
    } catch (const pipeline::pipeline_errors& errors) {
      return errors.what();
    }
    return {};
  };
  const auto check_mistake = [&](const std::string& line, const std::string& words) {
    CAPTURE(line);
    CHECK_MESSAGE(mistakes(line).find(words) != std::string::npos, mistakes(line));
  };
  check_refused("loss = { kl_clamp_output = 10.0 }",
                "t.toml:31:28: roles.learner.loss.kl_clamp_output: found 10 without a KL to clamp, want "
                "loss.kl_coefficient or algorithm_options.kl_in_reward above 0, or the clamp left out");
  check_refused("loss = { kl_clamp_input = 20.0 }", "kl_clamp_input: found 20 without a KL to clamp");
  check_mistake(
      "loss = { kl_coefficient = 0.1, kl_estimator = \"k3+\", kl_clamp_output = 10.0 }",
      "kl_clamp_output: found 10 with the estimator k3+, whose gradient no clamp bounds, want k3 or its _score "
      "form, or the clamp left out");
  check_mistake("loss = { kl_coefficient = 0.1, kl_clamp_input = 25.0 }",
                "kl_clamp_input: found 25 with the estimator k3, want a number below 20");
  check_mistake("algorithm_options = { kl_in_reward = 0.1, kl_in_reward_estimator = 3.0 }\n"
                "loss = { kl_clamp_input = 20.0 }",
                "kl_clamp_input: found 20 with the estimator k3");
  check_mistake("loss = { kl_coefficient = 0.1, kl_estimator = \"k1\", kl_clamp_input = 5.0, kl_clamp_output = 5.0 }",
                "kl_clamp_output: found 5 with kl_clamp_input = 5, under which no KL is as large");
  for (const char* line :
       {"loss = { kl_coefficient = 0.1, kl_clamp_input = 5.0, kl_clamp_output = 10.0 }",
        "loss = { kl_coefficient = 0.1, kl_estimator = \"k3+\", kl_clamp_output = 10.0, kl_target = 0.1 }",
        "loss = { kl_coefficient = 0.1, kl_estimator = \"k1\", kl_clamp_input = 25.0 }",
        "algorithm_options = { kl_in_reward = 0.1, kl_in_reward_estimator = 3.0 }\nloss = { kl_clamp_output = 10.0 }",
        "algorithm_options = { kl_in_reward = 0.1 }\nloss = { kl_coefficient = 0.1, kl_clamp_input = 25.0 }"})
    CHECK_MESSAGE(mistakes(line) == "", mistakes(line));
}

TEST_CASE("a group of one answer is refused where the algorithm compares the answers of a group") {
  const auto mistakes = [](const std::string& line) -> std::string {
    try {
      parsed(test::changed(with(line), "max_new_tokens = 48", "answers_per_prompt = 1"));
    } catch (const pipeline::pipeline_errors& errors) {
      return errors.what();
    }
    return {};
  };
  CHECK(mistakes("algorithm = \"grpo\"")
        == "t.toml:16:22: roles.rollout.answers_per_prompt: found 1 with algorithm \"grpo\", want at least 2, or "
           "algorithm_options.keep_lone = 1: it compares the answers of a group, and one alone trains nothing");
  CHECK(mistakes("algorithm = \"rloo\"")
        == "t.toml:16:22: roles.rollout.answers_per_prompt: found 1 with algorithm \"rloo\", want at least 2: it "
           "compares the answers of a group, and one alone trains nothing");
  CHECK(mistakes("algorithm = \"topr\"\nalgorithm_options = { centre = 1.0 }").find("or algorithm_options.centre = 0")
        != std::string::npos);
  for (const char* line : {"algorithm = \"grpo\"\nalgorithm_options = { keep_lone = 1.0 }", "algorithm = \"topr\"",
                           "algorithm = \"reinforce_pp\"", "algorithm = \"raft\""})
    CHECK_MESSAGE(mistakes(line) == "", mistakes(line));
}

TEST_CASE("lora.targets that match no linear layer are refused before anything is loaded") {
  const std::string start = "t.toml:31:20: roles.learner.lora.targets: found ";
  check_refused("lora = { targets = \"q_proj,v_proj\" }",
                start
                    + "\"q_proj,v_proj\", which matches no linear layer, want a regular expression found in names like "
                      "model.layers.0.self_attn.q_proj, did you mean \"(q_proj|v_proj)$\"?");
  check_refused("lora = { targets = \"q_proj, v_proj\" }", "did you mean \"(q_proj|v_proj)$\"?");
  check_refused("lora = { targets = \"lm_head\" }", start + "\"lm_head\", which matches no linear layer");
  check_refused("lora = { targets = \"(q_proj\" }", "roles.learner.lora.targets: ");
  for (const char* targets : {"_proj$", "(q|v)_proj$", "layers.11.mlp", "gate_proj|up_proj"})
    CHECK(policy_of(parsed(with("lora = { targets = \"" + std::string(targets) + "\" }"))).lora->targets == targets);
  check_refused("lora = { r = 8 }", "unknown key \"r\" in [roles.learner.lora], did you mean \"rank\"?");
  check_refused("lora = { lora_alpha = 8 }", "did you mean \"alpha\"?");
}

TEST_CASE("a KL in loss or reward reads the reference's column") {
  check_refused("loss = { kl_coefficient = 0.1 }", "reads column \"ref_logprob\"");
  check_refused("algorithm_options = { kl_in_reward = 0.1 }", "reads column \"ref_logprob\"");
}

TEST_CASE("the list of keys names every correction with its presets") {
  const std::string keys = pipeline::key_reference();
  for (const auto& correction : pipeline::built_in_vocabulary().corrections)
    CHECK_MESSAGE(keys.find("type = \"" + correction.name + '"') != std::string::npos, correction.name);
  CHECK(keys.find("preset = paper | prime_rl | slime | verl") != std::string::npos);
}

} // namespace loss_table_test
