#include "runtime/roles/role_kinds.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

namespace role_kinds_test {

using namespace millrace;
using namespace millrace::roles;

namespace {

constexpr const char* more_roles = R"(
[roles.critic]
kind = "critic"
from = ["rollout"]
model = "tiny"
threads = 1
[roles.frozen]
kind = "reference"
from = ["rollout"]
model = "tiny"
threads = 1
[roles.held_out]
kind = "evaluation"
model = "tiny"
generator = { type = "arithmetic" }
rows = 2
rules = [ { type = "number" } ]
)";

/// The abilities of a role in letters.
std::string letters(const role_abilities& can) {
  std::string out;
  out += can.generates ? "g" : "";
  out += can.adds_columns ? "a" : "";
  out += can.trains ? "t" : "";
  out += can.gives_weights ? "p" : "";
  out += can.takes_weights ? "w" : "";
  out += can.evaluates ? "e" : "";
  out += can.keeps_state ? "k" : "";
  return out;
}

} // namespace

TEST_CASE("each kind of role can what it can") {
  const std::vector<std::string> overrides{
      "roles.learner.algorithm=ppo", "roles.learner.from=[\"rules\", \"critic\", \"frozen\"]",
      "roles.learner.loss.kl_coefficient=0.1", "roles.learner.publishes_to=[\"rollout\", \"held_out\"]"};
  const auto data = tests::data_plane_of(1);
  const auto role_of = [&](const std::string& name, std::vector<std::string> more = {}) {
    more.insert(more.begin(), overrides.begin(), overrides.end());
    const auto p = std::make_shared<const pipeline::pipeline>(tests::tiny_pipeline(more, more_roles));
    return make_role({.pipeline = p, .who = {name, 0, 1}, .data = data});
  };
  CHECK(letters(role_of("prompts")) == "");
  CHECK(letters(role_of("rollout")) == "gw");
  CHECK(role_of("rollout").places > 0);
  CHECK(letters(role_of("rules")) == "a");
  CHECK(letters(role_of("frozen")) == "a");
  CHECK(letters(role_of("frozen", {"roles.frozen.ema=0.5"})) == "awk");
  CHECK(letters(role_of("critic")) == "atk");
  CHECK(letters(role_of("learner")) == "tpk");
  CHECK(role_of("learner").trains->parameter_count() > 0);
  CHECK(letters(role_of("held_out")) == "we");
  CHECK(role_of("held_out").evaluates->rows() == 2);
  for (const std::string role : {"rules", "held_out"})
    CHECK_THROWS_WITH_AS(
        role_of(role, {"roles." + role + R"(.rules=[{type="python",file="/no/such.py"}])"}),
        doctest::Contains((": roles." + role + ".rules.0: rule python: found no file /no/such.py").c_str()),
        pipeline::pipeline_errors);
  const tests::temporary_folder empty; // looks like a model, and is none
  tests::write_file(empty / "config.json", "{}");
  CHECK_THROWS_AS(role_of("learner", {"models.tiny.path=\"" + empty.path().string() + "\""}), input_error);
}

} // namespace role_kinds_test
