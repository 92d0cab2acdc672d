#pragma once

#include "runtime/rules/rule.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::rules {

/// One term of a reward: `weight` times what `scorer` gives; kept as the column `reward.<name>`.
struct weighted_rule {
  std::string name;
  double weight = 1;
  std::shared_ptr<const rule> scorer;
  std::vector<std::string> data_sources = {}; ///< it is asked for rows of these; empty: of every one

  bool applies_to(std::string_view data_source) const;
};

/// What a rule set says about one answer.
struct rule_set_score {
  score total; ///< the weighted sum; invalid or error as soon as one rule is (error first); not applicable where no
               ///< rule has one
  std::vector<score> by_rule; ///< in the order of the set, without the weight
};

/// Rules and their weights. Immutable; safe to call from several threads.
class rule_set {
public:
  /// @throws input_error for no rule at all, two rules of one name, or a weight that is not finite
  explicit rule_set(std::vector<weighted_rule> rules);

  rule_set_score evaluate(const rule_input& input) const;

  /// Scores the answers of one group. A rule that is not for the row's data source has nothing to say. One that throws
  /// has failed; it never throws further.
  std::vector<rule_set_score> evaluate_group(std::span<const rule_input> inputs) const;

  /// Whether a rule wants a group's answers together.
  bool wants_groups() const;

  /// How long the rules that keep their own deadlines may take together, for `callers` threads.
  std::chrono::milliseconds longest(std::size_t callers) const;

  /// As each rule does.
  void give_up() const {
    for (const auto& one : rules_)
      one.scorer->give_up();
  }

  /// Why no answer to a row can be scored: that no rule is for its data source, or "rule: reason" of the first of those
  /// rules that cannot read its expected answer; "" where all can.
  std::string unreadable(std::string_view answer, std::string_view data_source) const;

  const std::vector<weighted_rule>& rules() const { return rules_; }

  /// `status` and `reason` for the total and for every rule: how a row whose scoring never ended is reported.
  rule_set_score failed(const score& why) const;

private:
  std::vector<weighted_rule> rules_;
};

} // namespace millrace::rules
