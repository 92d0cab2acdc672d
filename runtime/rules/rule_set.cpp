#include "runtime/rules/rule_set.hpp"

#include "runtime/words/input_error.hpp"

#include <cmath>

namespace millrace::rules {

rule_set::rule_set(std::vector<weighted_rule> rules) : rules_(std::move(rules)) {
  if (rules_.empty())
    throw input_error("rules: found none, want at least one");
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    if (!std::isfinite(rules_[i].weight))
      throw input_error("rules: " + rules_[i].name + ": weight: found one that is not finite, want a number");
    for (std::size_t k = 0; k < i; ++k)
      if (rules_[k].name == rules_[i].name)
        throw input_error("rules: found two of the name \"" + rules_[i].name + "\", want a name for each");
  }
}

rule_set_score rule_set::evaluate(const rule_input& input) const {
  rule_set_score out;
  for (const weighted_rule& r : rules_) {
    const score s = out.by_rule.emplace_back(r.scorer->evaluate(input));
    if (s.status == score_status::value)
      out.total.value += r.weight * s.value;
    else if (out.total.status != score_status::error && out.total.status != s.status)
      out.total = {out.total.value, s.status, r.name + ": " + s.reason};
  }
  if (out.total.status != score_status::value)
    out.total.value = 0;
  return out;
}

std::string rule_set::unreadable(std::string_view answer) const {
  for (const weighted_rule& r : rules_)
    if (const std::string why = r.scorer->unreadable(answer); !why.empty())
      return r.name + ": " + why;
  return {};
}

rule_set_score rule_set::failed(const score& why) const {
  return {why, std::vector<score>(rules_.size(), why)};
}

} // namespace millrace::rules
