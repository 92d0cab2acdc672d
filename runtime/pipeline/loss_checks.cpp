#include "runtime/pipeline/loss_checks.hpp"

#include "runtime/pipeline/checks.hpp"
#include "runtime/pipeline/wording.hpp"
#include "runtime/words/decimal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

namespace millrace::pipeline {
namespace {

/// The KLs that a policy computes, each by its estimator: "k1", "k2" or "k3".
std::set<std::string> estimators_of(const policy_table& policy) {
  std::set<std::string> used;
  if (policy.loss.kl_coefficient > 0)
    used.insert(policy.loss.kl_estimator.substr(0, 2));
  if (policy.algorithm_number("kl_in_reward") > 0)
    used.insert('k' + decimal(policy.algorithm_number("kl_in_reward_estimator")));
  return used;
}

/// The largest estimate of a log-ratio of at most `input`; infinite where there is no bound.
double largest(const std::string& estimator, double input) {
  const double unbounded = std::numeric_limits<double>::infinity();
  const double d = input > 0 ? input : estimator == "k3" ? k3_input : unbounded;
  return estimator == "k1" ? d : estimator == "k2" ? d * d / 2 : std::exp(std::min(d, k3_input)) - d - 1;
}

/// A clamp that is set does something.
void check_clamps(const policy_table& policy, const std::string& path, reading& into) {
  const auto used = estimators_of(policy);
  const double input = policy.loss.kl_clamp_input, output = policy.loss.kl_clamp_output;
  const auto refuse = [&](const char* key, double found, const std::string& want) {
    into.wrong(into.place(path + ".loss." + key), path + ".loss." + key + ": found " + decimal(found) + want);
  };
  if (used.empty()) {
    const std::string want = " without a KL to clamp, want loss.kl_coefficient or algorithm_options.kl_in_reward above "
                             "0, or the clamp left out";
    if (input > 0)
      refuse("kl_clamp_input", input, want);
    if (output > 0)
      refuse("kl_clamp_output", output, want);
    return;
  }
  if (policy.loss.kl_estimator.ends_with('+') && policy.loss.kl_target == 0
      && policy.algorithm_number("kl_in_reward") == 0) {
    const std::string want = " with the estimator " + policy.loss.kl_estimator
                             + ", whose gradient no clamp bounds, want " + policy.loss.kl_estimator.substr(0, 2)
                             + " or its _score form, or the clamp left out";
    if (input > 0)
      refuse("kl_clamp_input", input, want);
    if (output > 0)
      refuse("kl_clamp_output", output, want);
    return;
  }
  if (input >= k3_input && used == std::set<std::string>{"k3"})
    refuse("kl_clamp_input", input,
           " with the estimator k3, want a number below " + decimal(k3_input) + ": k3 is cut off there in any case");
  const bool reached = std::any_of(used.begin(), used.end(),
                                   [&](const std::string& estimator) { return largest(estimator, input) > output; });
  if (output > 0 && !reached)
    refuse("kl_clamp_output", output,
           " with kl_clamp_input = " + decimal(input) + ", under which no KL is as large, want a smaller one");
}

void check_correction(const correction_entry& correction, const std::string& entry, reading& into) {
  const auto value = [&](const char* name) {
    const auto found = correction.options.find(name);
    const double* held = found == correction.options.end() ? nullptr : std::get_if<double>(&found->second);
    return held ? std::optional(*held) : std::nullopt;
  };
  const auto at_most = [&](const char* low, const char* high) {
    if (value(low) && value(high) && *value(low) > *value(high))
      into.wrong(into.place(entry + '.' + low), entry + '.' + low + ": found " + decimal(*value(low)) + " with " + high
                                                    + " = " + decimal(*value(high)) + ", want at most " + high);
  };
  if (correction.type != "dppo") // its bounds are of two sides
    at_most("low", "high");
  at_most("floor", "cap");
}

} // namespace

void check_loss(const policy_table& policy, const std::string& path, reading& into) {
  const loss_table& loss = policy.loss;
  if (loss.kl_target > 0 && loss.kl_coefficient == 0)
    into.wrong(into.place(path + ".loss.kl_target"),
               path + ".loss.kl_target: found " + decimal(loss.kl_target)
                   + " with kl_coefficient = 0, want a coefficient above 0 to start from");
  check_clamps(policy, path, into);
  for (std::size_t i = 0; i < loss.corrections.size(); ++i)
    check_correction(loss.corrections[i], path + ".loss.corrections." + std::to_string(i), into);
}

void check_group_size(const pipeline& p, const role& r, const policy_table& policy, reading& into) {
  const algorithm_type* algorithm = into.words.algorithm(policy.algorithm);
  if (!algorithm)
    return;
  const bool turned = !algorithm->least_switch.empty() && policy.algorithm_number(algorithm->least_switch) != 0;
  if ((algorithm->least_answers > 1) == turned)
    return;
  const std::string option = "algorithm_options." + algorithm->least_switch;
  const std::string way_out = algorithm->least_switch.empty() ? "" : ", or " + option + (turned ? " = 0" : " = 1");
  const auto refuse = [&](const std::string& key, const std::string& found, const std::string& want) {
    into.wrong(into.place(key), key + ": found " + found + " with algorithm " + in_quotes(policy.algorithm) + ", want "
                                    + want + way_out
                                    + ": it compares the answers of a group, and one alone trains nothing");
  };
  for (const role* up : upstream_of(p, r.name))
    if (const auto* rollout = std::get_if<rollout_table>(&up->options); rollout && rollout->answers_per_prompt == 1)
      refuse("roles." + up->name + ".answers_per_prompt", "1", "at least 2");
    else if (const auto* rows = std::get_if<demonstrations_table>(&up->options); rows && rows->form == "completion")
      refuse("roles." + up->name + ".form", "\"completion\"", "\"preference\", or an algorithm like \"sft\"");
}

} // namespace millrace::pipeline
