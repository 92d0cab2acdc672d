#pragma once

#include "algorithms/correction.hpp"
#include "tests/algorithms/columns.hpp"

#include <map>
#include <string>
#include <vector>

namespace millrace::tests {

/// Answers of so many tokens with exp(old - behaviour) as given; the current policy is the old one, advantages are 1.
inline algorithms::answer_columns answers_with_ratios(const std::vector<double>& ratio,
                                                      const std::vector<std::int64_t>& length) {
  algorithms::answer_columns answers;
  answers.length = at::tensor(length, at::kLong);
  answers.behaviour_logprob = at::full({static_cast<std::int64_t>(ratio.size())}, -3, at::kDouble);
  answers.old_logprob = answers.behaviour_logprob + doubles(ratio).log();
  answers.logprob = answers.old_logprob.clone().requires_grad_();
  answers.advantage = at::ones_like(answers.old_logprob);
  return answers;
}

inline at::Tensor weight_of(const char* name, const algorithms::answer_columns& answers,
                            const std::map<std::string, double>& set, algorithms::diagnostics& found) {
  const algorithms::correction& row = *algorithms::find_correction(name);
  return row.weight(answers, algorithms::hyperparameter_values(row.options, set), found);
}

inline at::Tensor weight_of(const char* name, const algorithms::answer_columns& answers,
                            const std::map<std::string, double>& set = {}) {
  algorithms::diagnostics found;
  return weight_of(name, answers, set, found);
}

} // namespace millrace::tests
