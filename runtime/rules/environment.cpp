#include "runtime/rules/rule.hpp"

namespace millrace::rules {

extern const rule_type environment;

namespace {

class environment_rule final : public rule {
public:
  score evaluate(const rule_input& input) const override {
    return input.environment_reward ? score::of(*input.environment_reward)
                                    : score::invalid("no environment played this answer's turns");
  }

  bool scores_expected_answer() const override { return false; }
};

std::unique_ptr<rule> make_environment(const option_values&) {
  return std::make_unique<environment_rule>();
}

} // namespace

const rule_type environment{.name = "environment",
                            .meaning = "the sum of what an environment gave for the turns of the answer",
                            .options = {},
                            .make = make_environment};

} // namespace millrace::rules
