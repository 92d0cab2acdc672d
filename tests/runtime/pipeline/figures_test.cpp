#include "runtime/pipeline/figures.hpp"
#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

#include <set>

namespace figures_test {

using namespace millrace;
using test::changed;
using test::valid;

namespace {

using lines = std::vector<std::string>;

const std::string with_evaluation = changed(valid, "publishes_to = [\"rollout\"]",
                                            "publishes_to = [\"rollout\", "
                                            "\"held_out\"]")
                                    + R"(
[roles.held_out]
kind = "evaluation"
model = "tiny"
generator = { type = "arithmetic" }
every = 5
answers_per_prompt = 4
pass_at = [1, 4]
rules = [ { type = "number" } ]
)";

std::set<std::string> names(const std::string& text) {
  std::set<std::string> found;
  for (const auto& one : pipeline::figures_of(test::parsed(text))) {
    CHECK_MESSAGE(found.insert(one.name).second, one.name);
    CHECK_MESSAGE(one.meaning.size() > 8, one.name);
  }
  return found;
}

} // namespace

TEST_CASE("the figures are those of the roles that are there, each once and with a sentence") {
  const auto plain = names(valid);
  for (const char* name : {"reward", "actor/pg_loss", "rewards/number/mean", "rewards/exact/mean", "groups/unscored",
                           "staleness/3-4/reward", "perf/time_per_step"})
    CHECK_MESSAGE(plain.contains(name), name);
  for (const char* name : {"critic/vf_loss", "evaluation/held_out/pass@1", "pretraining/loss"})
    CHECK_MESSAGE(!plain.contains(name), name);
  const auto mixed = names(changed(valid, "generator = { type = \"arithmetic\" }",
                                   "sources = [{ name = \"gsm8k\", generator = { type = \"arithmetic\" } }]"));
  for (const char* name : {"reward/gsm8k", "groups/from/gsm8k"})
    CHECK_MESSAGE(mixed.contains(name), name);
  const auto playing = [](const std::string& type) {
    return names(changed(valid, "[roles.rollout]\n",
                         "[roles.game]\nkind = \"environment\"\nfrom = [\"prompts\"]\ntype = " + type
                             + "\n[roles.rollout]\nenvironment = \"game\"\n"));
  };
  CHECK(playing("\"nim\"").contains("episodes/segments"));
  CHECK(!playing("\"nim\"").contains("episodes/rewritten_histories"));
  CHECK(playing("\"program\"\ncommand = [\"./game\"]").contains("episodes/rewritten_histories"));
  const auto evaluated = names(with_evaluation);
  for (const char* name : {"evaluation/held_out/pass@1", "evaluation/held_out/pass@4", "evaluation/held_out/avg@4",
                           "evaluation/held_out/maj@4", "evaluation/held_out/length/mean"})
    CHECK_MESSAGE(evaluated.contains(name), name);
}

TEST_CASE("keep_best and stop_when of a figure that the pipeline does not make are refused, with the nearest name") {
  const auto keep = [](const std::string& name) {
    return test::errors_of(
        changed(with_evaluation, "steps = 10\n", "steps = 10\ncheckpoint_every = 5\nkeep_best = \"" + name + "\"\n"));
  };
  const std::string start = "p.toml:5:13: run.keep_best: found ";
  const std::string end = " (millrace metrics FILE lists them)";
  CHECK(keep("held_out/pass@1")
        == lines{start
                 + "\"held_out/pass@1\", want a figure that the pipeline makes, did you mean "
                   "\"evaluation/held_out/pass@1\"?"
                 + end});
  CHECK(keep("evaluation/held_out/pas@1")
        == lines{start
                 + "\"evaluation/held_out/pas@1\", want a figure that the pipeline makes, did you mean "
                   "\"evaluation/held_out/pass@1\"?"
                 + end});
  CHECK(keep("heldout/pass1") == lines{start + "\"heldout/pass1\", want a figure that the pipeline makes" + end});
  CHECK(keep("evaluation/held_out/pass@1") == lines{});
  CHECK(keep("evaluation/held_out/gsm8k/pass@1") == lines{}); // of one data source of a file
  CHECK(keep("reward") == lines{});

  const auto stop = [](const std::string& name) {
    return test::errors_of(changed(with_evaluation, "steps = 10\n",
                                   "steps = 10\nstop_when = [ { metric = \"" + name + "\", above = 1.0 } ]\n"));
  };
  CHECK(
      stop("rewrad")
      == lines{"p.toml:4:26: run.stop_when.0.metric: found \"rewrad\", want a figure that the pipeline makes, did you "
               "mean \"reward\"?"
               + end});
  CHECK(stop("actor/ppo_kl") == lines{});
}

} // namespace figures_test
