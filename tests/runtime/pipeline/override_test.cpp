#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

namespace override_test {

using namespace millrace::test;
using lines = std::vector<std::string>;

TEST_CASE("--set has the same checks, and its errors stand at the --set") {
  CHECK(errors_of(valid, {"roles.rollout.slots=abc", "roles.rollout.slotz=3", "run.seed=-1"})
        == lines{"--set run.seed=-1: run.seed: found -1, want an integer from 0 to 9007199254740992 (seed of "
                 "everything drawn at random)",
                 "--set roles.rollout.slots=abc: roles.rollout.slots: found \"abc\", want an integer from 1 to 4096 "
                 "(answers decoded at once, in each process)",
                 R"(--set roles.rollout.slotz=3: unknown key "slotz" in [roles.rollout], did you mean "slots"?)"});
  CHECK(errors_of(valid, {"nonsense", "run.steps=[1", "a..b=3", "roles.rules.rules.7.weight=1", "run.name.x=3"})
        == lines{
            "--set nonsense: found no '=', want key.path=value",
            "--set run.steps=[1: not TOML: Error while parsing array: encountered end-of-file",
            "--set a..b=3: found the key \"a..b\", want key.path=value with letters, digits, '_' and '-' between dots",
            "--set roles.rules.rules.7.weight=1: roles.rules.rules: found entry 7 of a list of 2, want one from 0",
            "--set run.name.x=3: run.name: found \"t\", want a table to set \"x\" in"});
}

TEST_CASE("--set takes TOML values and bare words; a later one wins; tables come to be") {
  const auto p =
      parsed(valid, {"run.name=other", "run.steps=7", "run.steps=8", "roles.learner.optimizer.lr=2e-5",
                     "placement.rollout.processes=2", "roles.rules.rules.0.extract=boxed",
                     "roles.rollout.stop=[\"a\", \"b\"]", "run.device=cpu", "roles.learner.optimizer.warmup_steps=3"});
  CHECK(p.run.name == "other");
  CHECK(p.run.steps == 8);
  CHECK(p.processes_of("rollout") == 2);
  CHECK(std::get<millrace::pipeline::rollout_table>(p.at("rollout").options).stop
        == std::vector<std::string>{"a", "b"});
  CHECK(std::get<millrace::pipeline::policy_table>(p.policy().options).optimizer.lr == 2e-5);
  CHECK(std::get<std::string>(
            std::get<millrace::pipeline::rule_verifier_table>(p.at("rules").options).rules[0].options.at("extract"))
        == "boxed");
  CHECK(parsed(valid, {"run.name=10"}).run.name == "10");
  CHECK(parsed(valid, {"run.name=2024-01-02"}).run.name == "2024-01-02");
}

} // namespace override_test
