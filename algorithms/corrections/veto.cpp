#include "algorithms/correction.hpp"
#include "algorithms/corrections/importance.hpp"

#include <ATen/ATen.h>

#include <cmath>

namespace millrace::algorithms {
namespace veto_row {

constexpr hyperparameter options[] = {
    {.name = "low", .fallback = 1e-4, .low = 0, .high = 1, .meaning = "an answer with a token below it is dropped"},
    {.name = "high", .fallback = 1e9, .low = 1, .high = 1e9, .meaning = "an answer with a token above it is dropped"},
};
constexpr preset::setting slime_settings[] = {{"low", 1e-4}};
constexpr preset::setting skyrl_settings[] = {{"low", 1e-4}, {"high", 100}};
constexpr preset presets[] = {{"slime", slime_settings}, {"skyrl", skyrl_settings}};

at::Tensor weight(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const at::Tensor d = log_ratio(answers);
  const at::Tensor bad = d.lt(std::log(values.get("low"))).logical_or_(d.gt(std::log(values.get("high"))));
  const at::Tensor any = answer_sum(bad.to(d.scalar_type()), answers.length);
  return kept(at::ones_like(d), any.eq(0), found);
}

} // namespace veto_row

extern const correction veto;
const correction veto{
    .name = "veto",
    .source = "slime train_infer_mismatch_helper/mis.py::calculate_veto_mask; SkyRL outlier bounds",
    .summary = "drops an answer with a single token whose ratio is catastrophic",
    .formula = "w = 0 where the answer has a token with exp(old - behaviour) < low or > high, else 1",
    .differences = "slime has the lower bound only. Denominators keep every token; verl, AReaL and slime divide by the "
                   "kept ones.",
    .options = veto_row::options,
    .presets = veto_row::presets,
    .weight = veto_row::weight,
};

} // namespace millrace::algorithms
