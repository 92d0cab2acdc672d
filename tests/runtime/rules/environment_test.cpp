#include "runtime/rules/rule.hpp"

#include <doctest/doctest.h>

namespace environment_rule_test {

using namespace millrace::rules;

TEST_CASE("environment rule: the sum of the turns' rewards, and no score without an environment") {
  const auto rule = make_rule("environment", {});
  CHECK(rule->evaluate({.environment_reward = 2.5}).value == 2.5);
  CHECK(rule->evaluate({.environment_reward = 0.0}).status == score_status::value);
  const auto none = rule->evaluate({});
  CHECK(none.status == score_status::invalid);
  CHECK(none.reason == "no environment played this answer's turns");
}

} // namespace environment_rule_test
