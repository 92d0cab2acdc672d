#include "runtime/rules/rule_set.hpp"

#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <cmath>
#include <exception>

namespace millrace::rules {

bool weighted_rule::applies_to(std::string_view data_source) const {
  return data_sources.empty() || std::find(data_sources.begin(), data_sources.end(), data_source) != data_sources.end();
}

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

namespace {

/// The weighted sum of what each rule said.
score total_of(const std::vector<weighted_rule>& rules, const std::vector<score>& by_rule) {
  score total;
  bool scored = false;
  for (std::size_t r = 0; r < rules.size(); ++r) {
    const score& s = by_rule[r];
    if (s.status == score_status::value) {
      total.value += rules[r].weight * s.value;
      scored = true;
    } else if (s.status != score_status::not_applicable && total.status != score_status::error
               && total.status != s.status) {
      total.status = s.status;
      total.reason = rules[r].name + ": " + s.reason;
      total.kind = s.kind;
    }
  }
  if (total.status != score_status::value)
    total.value = 0;
  else if (!scored)
    return {.status = score_status::not_applicable, .reason = "no rule has a score for the answer"};
  return total;
}

/// A rule's scores, whatever it does instead of returning them.
std::vector<score> asked(const rule& scorer, std::span<const rule_input> inputs) {
  try {
    auto scores = scorer.evaluate_group(inputs);
    for (score& s : scores)
      if (s.status == score_status::value && !std::isfinite(s.value))
        s = score::error("a score that is not finite", failure_kind::malformed);
    return scores;
  } catch (const std::exception& error) {
    return std::vector<score>(inputs.size(), score::error(error.what(), failure_kind::crash));
  }
}

/// The scores of the inputs that the rule is for; it has nothing to say of the others.
std::vector<score> asked_where_it_applies(const weighted_rule& rule, std::span<const rule_input> inputs) {
  if (rule.data_sources.empty())
    return asked(*rule.scorer, inputs);
  std::vector<rule_input> meant;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].row && rule.applies_to(inputs[i].row->data_source)) {
      meant.push_back(inputs[i]);
      places.push_back(i);
    }
  std::vector<score> scores(inputs.size(), score::not_applicable());
  if (meant.empty())
    return scores;
  auto found = asked(*rule.scorer, meant);
  for (std::size_t i = 0; i < places.size(); ++i)
    scores[places[i]] = std::move(found[i]);
  return scores;
}

} // namespace

std::vector<rule_set_score> rule_set::evaluate_group(std::span<const rule_input> inputs) const {
  std::vector<rule_set_score> found(inputs.size());
  for (const weighted_rule& r : rules_) {
    auto scores = asked_where_it_applies(r, inputs);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      found[i].by_rule.push_back(std::move(scores[i]));
  }
  for (rule_set_score& one : found)
    one.total = total_of(rules_, one.by_rule);
  return found;
}

rule_set_score rule_set::evaluate(const rule_input& input) const {
  return std::move(evaluate_group({&input, 1}).front());
}

bool rule_set::wants_groups() const {
  return std::any_of(rules_.begin(), rules_.end(), [](const auto& r) { return r.scorer->wants_groups(); });
}

std::chrono::milliseconds rule_set::longest(std::size_t callers) const {
  std::chrono::milliseconds sum{};
  for (const weighted_rule& r : rules_)
    sum += r.scorer->longest(callers);
  return sum;
}

std::string rule_set::unreadable(std::string_view answer, std::string_view data_source) const {
  if (std::none_of(rules_.begin(), rules_.end(), [&](const auto& r) { return r.applies_to(data_source); }))
    return "no rule is for its data_source \"" + std::string(data_source) + '"';
  for (const weighted_rule& r : rules_)
    if (const std::string why = !r.applies_to(data_source) ? std::string() : r.scorer->unreadable(answer); !why.empty())
      return r.name + ": " + why;
  return {};
}

rule_set_score rule_set::failed(const score& why) const {
  return {why, std::vector<score>(rules_.size(), why)};
}

} // namespace millrace::rules
