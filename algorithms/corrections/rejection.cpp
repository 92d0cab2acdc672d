#include "algorithms/correction.hpp"
#include "algorithms/corrections/importance.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace rejection_row {

constexpr std::string_view estimators[] = {"k1", "k2", "k3"};
constexpr std::string_view spans[] = {"token", "sum", "mean", "max"};
constexpr hyperparameter options[] = {
    {.name = "estimator",
     .fallback = 2,
     .low = 0,
     .high = 2,
     .meaning = "estimator of the divergence",
     .words = estimators},
    {.name = "over",
     .fallback = 2,
     .low = 0,
     .high = 3,
     .meaning = "divergence of a token: its own, or the sum, mean or largest of its answer",
     .words = spans},
    {.name = "low",
     .fallback = -1e9,
     .low = -1e9,
     .high = 1e9,
     .meaning = "smallest divergence that is kept; only k1 has a sign"},
    {.name = "high", .fallback = 0.01, .low = -1e9, .high = 1e9, .meaning = "largest divergence that is kept"},
};
constexpr preset::setting verl_k3_settings[] = {{"estimator", 2}, {"over", 2}, {"high", 0.01}};
constexpr preset::setting verl_k2_settings[] = {{"estimator", 1}, {"over", 2}, {"high", 0.01}};
constexpr preset presets[] = {{"verl_k3", verl_k3_settings}, {"verl_k2", verl_k2_settings}};

at::Tensor divergence(const at::Tensor& d, std::string_view estimator) {
  if (estimator == "k1")
    return d;
  return estimator == "k2" ? d.square() / 2 : d.exp() - d - 1;
}

at::Tensor weight(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  at::Tensor x = divergence(log_ratio(answers).clamp(-20, 20), values.word("estimator"));
  const std::string_view over = values.word("over");
  if (over == "sum")
    x = answer_sum(x, answers.length);
  else if (over == "mean")
    x = answer_mean(x, answers.length);
  else if (over == "max")
    x = answer_max(x, answers.length);
  return kept(at::ones_like(x), x.ge(values.get("low")).logical_and_(x.le(values.get("high"))), found);
}

} // namespace rejection_row

extern const correction rejection;
const correction rejection{
    .name = "rejection",
    .source = "verl rollout_corr_helper.py::compute_rollout_rejection_mask; AReaL apply_rejection_sampling",
    .summary = "drops tokens or answers whose divergence between behaviour and proximal policy is too large",
    .formula = "d = old - behaviour;  k1 = d, k2 = d^2 / 2, k3 = e^d - d - 1, of the token or its answer's sum, mean, "
               "largest\n"
               "w = 1 where low <= k <= high, else 0",
    .differences = "verl's k1 is -d with bounds given as ratios: its [a, b] is low = -log b, high = -log a here. Its "
                   "k3 bounds run from 0.001 to 0.01. Denominators keep every token; verl, AReaL and slime divide by "
                   "the kept ones. AReaL's rejection carries the importance weight too: add `truncated`.",
    .options = rejection_row::options,
    .presets = rejection_row::presets,
    .weight = rejection_row::weight,
};

} // namespace millrace::algorithms
