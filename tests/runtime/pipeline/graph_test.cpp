#include "runtime/pipeline/schedule_config.hpp"
#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace graph_test {

using namespace millrace::test;
using lines = std::vector<std::string>;

namespace {

const std::string reference =
    "[roles.frozen]\nkind = \"reference\"\nfrom = [\"rollout\"]\nmodel = \"tiny\"\n\n[roles.learner]";

lines with(const std::string& from, const std::string& to) {
  return errors_of(changed(valid, from, to));
}

} // namespace

TEST_CASE("roles stand after those they read from, with what each reads and adds") {
  // The learner's table moved to the front.
  std::string text = valid;
  const auto learner = text.find("[roles.learner]"), schedule = text.find("[schedule]"),
             prompts = text.find("[roles.prompts]");
  const std::string moved = text.substr(learner, schedule - learner);
  text.erase(learner, schedule - learner);
  text.insert(prompts, moved);
  const auto p = parsed(text);
  CHECK(millrace::pipeline::names_of(p.roles) == lines{"prompts", "rollout", "rules", "learner"});
  CHECK(p.at("rules").adds == lines{"reward", "reward.number", "reward.exact"});
  CHECK(p.at("rules").reads == lines{"answer", "lengths", "finish", "text", "text_lengths"});
  CHECK(p.policy().reads == lines{"prompt_tokens", "tokens", "mask", "logprob", "version", "lengths", "reward"});
  CHECK(p.readers_of("rollout") == lines{"rules"});
}

TEST_CASE("a name in `from` that is no role") {
  CHECK(with("from = [\"rollout\"]", "from = [\"rolout\"]")
        == lines{R"(p.toml:20:9: roles.rules.from: no role "rolout", did you mean "rollout"?)"});
  CHECK(with("from = [\"rollout\"]", "from = [\"rollout\", \"rollout\"]")
        == lines{R"(p.toml:20:20: roles.rules.from: found "rollout" twice, want it once)"});
}

TEST_CASE("a cycle is named once") {
  CHECK(with("from = [\"prompts\"]", "from = [\"rules\"]")
        == lines{"p.toml:20:9: roles.rules.from: found a cycle, rollout reads from rules reads from rollout, want a "
                 "graph without one"});
  CHECK(
      with("from = [\"prompts\"]", "from = [\"rollout\"]")
      == lines{"p.toml:14:9: roles.rollout.from: found a cycle, rollout reads from rollout, want a graph without one"});
}

TEST_CASE("a column that nobody upstream adds names the kind that would") {
  CHECK(
      with("from = [\"rules\"]", "from = [\"rollout\"]")
      == lines{R"(p.toml:24:8: roles.learner: reads column "reward", which no role upstream adds, want a role of kind )"
               R"("rule_verifier" or "reward_model" upstream of it)"});
  CHECK(
      with("publishes_to", "algorithm = \"ppo\"\npublishes_to")
      == lines{R"(p.toml:24:8: roles.learner: reads column "value", which no role upstream adds, want a role of kind )"
               R"("critic" upstream of it)"});
}

TEST_CASE("a reference is there exactly where there is a KL term") {
  CHECK(
      with("publishes_to", "loss = { kl_coefficient = 0.1 }\npublishes_to")
      == lines{
          R"(p.toml:24:8: roles.learner: reads column "ref_logprob", which no role upstream adds, want a role of kind )"
          R"("reference" upstream of it)"});
  const std::string both =
      changed(changed(valid, "[roles.learner]", reference), "from = [\"rules\"]", "from = [\"rules\", \"frozen\"]");
  CHECK(errors_of(both)
        == lines{
            "p.toml:24:8: roles.frozen: adds ref_logprob, which no role downstream reads, want a policy below it with "
            "loss.kl_coefficient above 0, or the role left out"});
  CHECK(errors_of(both, {"roles.learner.loss.kl_coefficient=0.1"}).empty());
}

TEST_CASE("a column that two roles add") {
  const std::string second =
      "[roles.more]\nkind = \"rule_verifier\"\nfrom = [\"FROM\"]\nrules = [ { type = \"length\" } ]\n\n[roles.learner]";
  CHECK(
      with("[roles.learner]", changed(second, "FROM", "rules"))
      == lines{
          R"(p.toml:24:8: roles.more: adds column "reward", which "rules" upstream of it adds too, want one role that )"
          R"(adds it)"});
  CHECK(
      errors_of(changed(changed(valid, "[roles.learner]", changed(second, "FROM", "rollout")), "from = [\"rules\"]",
                        "from = [\"rules\", \"more\"]"))
      == lines{
          R"(p.toml:30:18: roles.learner.from: found column "reward" from both "rules" and "more", want one role that )"
          R"(adds it)"});
}

TEST_CASE("one policy, publishing to rollouts of its model") {
  CHECK(
      with("publishes_to = [\"rollout\"]", "publishes_to = [\"rules\"]")
      == lines{
          R"(p.toml:27:16: roles.learner.publishes_to: rollout "rollout" is not in it, want every rollout upstream of )"
          R"(the policy)",
          R"(p.toml:27:17: roles.learner.publishes_to: found "rules" of kind "rule_verifier", want a role of kind )"
          R"("rollout" or "evaluation")"});
  CHECK(with("publishes_to = [\"rollout\"]", "publishes_to = [\"rollout\", \"rolout\"]")
        == lines{R"(p.toml:27:28: roles.learner.publishes_to: no role "rolout", did you mean "rollout"?)"});
  CHECK(
      with("publishes_to = [\"rollout\"]", "publishes_to = []")
      == lines{
          R"(p.toml:27:16: roles.learner.publishes_to: rollout "rollout" is not in it, want every rollout upstream of )"
          R"(the policy)"});
  const std::string two = changed(valid, "[roles.prompts]", "[models.other]\npath = \"model.gguf\"\n\n[roles.prompts]");
  CHECK(errors_of(two, {"roles.learner.model=other"})
        == lines{
            R"(p.toml:30:17: roles.learner.publishes_to: found "rollout" with model "tiny", want "other", the model )"
            R"(that is trained)"});
  CHECK(errors_of(valid, {"roles.rollout.model=tinny"})
        == lines{
            R"(p.toml:27:17: roles.learner.publishes_to: found "rollout" with model "tinny", want "tiny", the model )"
            R"(that is trained)",
            R"(--set roles.rollout.model=tinny: roles.rollout.model: no table [models.tinny], did you mean "tiny"?)"});
  const auto none = errors_of(changed(
      valid, valid.substr(valid.find("[roles.learner]"), valid.find("[schedule]") - valid.find("[roles.learner]")),
      ""));
  REQUIRE(none.size() == 2);
  CHECK(none[0] == R"(p.toml:8:1: roles: found no role of kind "policy", want one: it is what is trained)");
  CHECK(none[1]
        == "p.toml:19:8: roles.rules: adds reward, reward.number, reward.exact, which no role downstream reads, want a "
           "role that reads them, or the role left out");
}

TEST_CASE("a layout shares the cores with decoding and with each pass that trains") {
  const auto shared = [](std::int64_t cores, const std::vector<std::string>& sets) {
    return millrace::pipeline::layout_contention(parsed(valid, sets), cores);
  };
  CHECK(shared(2, {}) == 1.5); // a thread trains, one decodes, one lays out
  CHECK(shared(2, {"roles.learner.micro_batches_at_once=2"}) == 2);
  CHECK(shared(8, {"roles.learner.micro_batches_at_once=2"}) == 9.0 / 8); // two on two threads each
  CHECK(shared(2, {"roles.learner.micro_batches_at_once=2", "placement.learner.processes=2"}) == 1.5);
}

TEST_CASE("cores are shared by the heavy roles that work at the same time") {
  CHECK(threads_of(parsed(valid), "rollout", 8) == 4);
  CHECK(threads_of(parsed(valid), "learner", 8) == 4);
  CHECK(threads_of(parsed(valid), "rules", 8) == 1);
  CHECK(threads_of(parsed(valid), "rollout", 1) == 1);
  CHECK(threads_of(parsed(valid, {"schedule.preset=synchronous"}), "learner", 8) == 8);
  CHECK(threads_of(parsed(valid, {"placement.rollout.processes=3"}), "learner", 8) == 2);
  CHECK(threads_of(parsed(valid, {"roles.rollout.threads=5"}), "rollout", 8) == 5);
  const auto remote =
      parsed(valid, {"placement.rollout.hosts=[\"a:1\"]",
                     "placement.secret_file=" + (parsed(valid).file.parent_path() / "secret").string()});
  CHECK(threads_of(remote, "learner", 8) == 8);
  CHECK(threads_of(remote, "rollout", 8) == 8);
}

namespace {

const std::string critic =
    "[roles.critic]\nkind = \"critic\"\nfrom = [\"rollout\"]\nmodel = \"tiny\"\n\n[roles.learner]";
const std::string judge =
    "[roles.judge]\nkind = \"reward_model\"\nfrom = [\"rollout\"]\nmodel = \"tiny\"\n\n[roles.learner]";

std::string joined_by_learner(const std::string& role, const std::string& name) {
  return changed(changed(valid, "[roles.learner]", role), "from = [\"rules\"]", "from = [\"rules\", \"" + name + "\"]");
}

} // namespace

TEST_CASE("a critic is there exactly where the algorithm reads values") {
  const std::string both = joined_by_learner(critic, "critic");
  CHECK(errors_of(both)
        == lines{"p.toml:24:8: roles.critic: adds value, which no role downstream reads, want a role that reads them, "
                 "or the role left out"});
  CHECK(errors_of(both, {"roles.learner.algorithm=ppo"}).empty());
  CHECK(errors_of(both, {"roles.learner.algorithm=ppo", "placement.critic.processes=2"}).empty()); // ranks
}

TEST_CASE("in a synchronous schedule policy and critic share the cores, since they train at the same time") {
  const auto p =
      parsed(joined_by_learner(critic, "critic"), {"roles.learner.algorithm=ppo", "schedule.preset=synchronous"});
  CHECK(millrace::pipeline::threads_of(p, "critic", 8) == 4);
  CHECK(millrace::pipeline::threads_of(p, "learner", 8) == 4);
  CHECK(millrace::pipeline::threads_of(p, "rollout", 8) == 8);
}

TEST_CASE("the one role that scores adds the reward; several are weighed by the policy, column by column") {
  const std::string alone =
      changed(changed(valid, "[roles.learner]", judge), "from = [\"rules\"]", "from = [\"judge\"]");
  CHECK(errors_of(joined_by_learner(judge, "judge"))
        == lines{"p.toml:24:8: roles.judge: adds reward.judge, which no role downstream reads, want a role that reads "
                 "them, or the role left out"});
  const std::string weights = "publishes_to = [\"rollout\"]\nrewards = [ { name = \"number\", weight = 2.0 }, { name = "
                              "\"judge\", normalise = \"group\" } ]\n";
  const std::string two = changed(joined_by_learner(judge, "judge"), "publishes_to = [\"rollout\"]\n", weights);
  CHECK(errors_of(two).empty());
  const auto p = parsed(two);
  CHECK(p.at("judge").adds == lines{"reward.judge", "origin.reward.judge"});
  CHECK(p.policy().reads_if_added == lines{"recomputed", "kept", "origin.reward.judge", "finish"});
  CHECK(p.policy().reads
        == lines{"prompt_tokens", "tokens", "mask", "logprob", "version", "lengths", "reward.number", "reward.judge"});
  CHECK(
      errors_of(changed(two, "name = \"judge\"", "name = \"jury\"")).at(0)
      == R"(p.toml:33:57: roles.learner: reads column "reward.jury", which no role upstream adds, want a role of kind )"
         R"("rule_verifier" or "reward_model" upstream of it)");
  CHECK(errors_of(changed(two, "\"group\"", "\"zscore\""))
            .at(0)
            .find("roles.learner.rewards.1.normalise: found \"zscore\"")
        != std::string::npos);
  const auto twice = errors_of(changed(two, "name = \"judge\"", "name = \"number\""));
  CHECK(std::find(twice.begin(), twice.end(),
                  R"(p.toml:33:57: roles.learner.rewards: found "number" twice, want it once)")
        != twice.end());
}

} // namespace graph_test
