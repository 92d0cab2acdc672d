#include "runtime/train/step_record.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace step_record_test {

using millrace::input_error;
using namespace millrace::train;

namespace {

training_group some_group() {
  training_group g;
  g.id = 7;
  g.prompt = {1, 2};
  g.answers = {{3, 4, 5}, {6}};
  g.behaviour_logprob = {{-1, -2, -3}, {-4}};
  g.version = {{2, 2, 3}, {2}};
  g.reward = {1, 0};
  g.sampled = {{{2, 2}, {3, 1, true}}, {{2, 1}}};
  return g;
}

} // namespace

TEST_CASE("a run of tokens ends where another version samples, or everything before is computed anew") {
  const std::vector<std::uint32_t> version{2, 2, 3, 3, 3};
  const std::vector<std::uint8_t> recomputed{0, 0, 0, 1, 0};
  CHECK((runs_of(version, {}) == std::vector<version_run>{{2, 2}, {3, 3}}));
  CHECK((runs_of(version, recomputed) == std::vector<version_run>{{2, 2}, {3, 1}, {3, 2, true}}));
  CHECK(runs_of({}, {}).empty());
}

TEST_CASE("the checksum changes with every bit that training reads and with how it is cut into answers") {
  const auto same = lineage_of(some_group()).checksum;
  CHECK(lineage_of(some_group()).checksum == same);
  training_group g = some_group();
  g.behaviour_logprob[0][1] = std::nextafter(-2.0f, 0.0f);
  CHECK(lineage_of(g).checksum != same);
  g = some_group();
  g.reward[1] = 0.5f;
  CHECK(lineage_of(g).checksum != same);
  g = some_group();
  g.answers = {{3, 4}, {5, 6}};
  CHECK(lineage_of(g).checksum != same);
  g = some_group();
  g.ref_logprob = {{-1, -1, -1}, {-1}};
  CHECK(lineage_of(g).checksum != same);
}

TEST_CASE("a step's record says with which weights and threads its columns were computed, in which session, and after "
          "what was followed") {
  training_group g = some_group();
  g.value = {{1, 2, 3}, {4}};
  g.origins = {{"reward.judge", {0, 4}}, {"value", {3, 2}}};
  step_record step{.step = 3, .version = 2, .threads = 1, .groups = {lineage_of(g)}};
  step.groups.at(0).by = "rollout";
  step.groups.at(0).drawn = {1, 17};
  step.session = 2;
  step.followed = true;
  step.cuts = {400, 200};
  step.critic_cut = 128;
  const step_record read = step_record_from(to_json(step));
  CHECK((read.groups.at(0).origins == g.origins));
  CHECK((read.groups == step.groups));
  CHECK(read.session == 2);
  CHECK(read.followed);
  CHECK(read.cuts == step.cuts);
  CHECK(read.critic_cut == 128);
  auto text = to_json(step);
  CHECK_THROWS_AS(step_record_from(text.replace(text.find("[3,2]"), 5, "[3]")), input_error);
}

TEST_CASE("a step's record survives being written; other text is refused") {
  const lineage large{.group = 9, .answers = {{}}, .checksum = 0xffffffffffffffffu, .origins = {}, .by = {}};
  const lineage shortened{.group = 10, .answers = {{}, {}}, .checksum = 5, .kept = {1, 4}, .origins = {}, .by = {}};
  const step_record step{.step = 3, .version = 2, .threads = 1, .groups = {lineage_of(some_group()), large, shortened}};
  const step_record read = step_record_from(to_json(step));
  CHECK(read.step == 3);
  CHECK(read.version == 2);
  CHECK(read.threads == 1);
  CHECK((read.groups == step.groups));
  CHECK(read.session == 1);
  CHECK_FALSE(read.followed);
  CHECK(read.cuts.empty());
  CHECK(read.critic_cut == 0);
  CHECK_THROWS_AS(step_record_from("{}"), input_error);
  CHECK_THROWS_AS(step_record_from("[1"), input_error);
  auto text = to_json(step);
  CHECK_THROWS_AS(step_record_from(text.replace(text.find("[[1],[]]"), 8, "[[2],[]]")), input_error);
}

} // namespace step_record_test
