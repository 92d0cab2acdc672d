#include "algorithms/correction.hpp"
#include "algorithms/corrections/importance.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace geometric_mask_row {

constexpr hyperparameter options[] = {
    {.name = "low",
     .fallback = 0.999,
     .low = 0,
     .high = 1,
     .meaning = "smallest geometric mean ratio of an answer that is kept"},
    {.name = "high",
     .fallback = 1.001,
     .low = 1,
     .high = 1e9,
     .meaning = "largest geometric mean ratio of an answer that is kept"},
};
constexpr preset::setting verl_settings[] = {{"low", 0.999}, {"high", 1.001}};
constexpr preset::setting skyrl_settings[] = {{"low", 0.99}, {"high", 1.01}};
constexpr preset::setting slime_settings[] = {{"low", 0.9999}, {"high", 1.0001}};
constexpr preset presets[] = {{"verl", verl_settings}, {"skyrl", skyrl_settings}, {"slime", slime_settings}};

at::Tensor weight(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const at::Tensor g = importance(answers, "geometric");
  return kept(at::ones_like(g), g.ge(values.get("low")).logical_and_(g.le(values.get("high"))), found);
}

} // namespace geometric_mask_row

extern const correction geometric_mask;
const correction geometric_mask{
    .name = "geometric_mask",
    .source = "Li et al. 2025, Trust region masking (Geo-RS); verl rollout_corr_helper.py, seq_mean_k1",
    .summary = "drops answers whose mean log-ratio is far from 0",
    .formula = "w = 1 where low <= exp(mean over the answer of old - behaviour) <= high, else 0",
    .differences =
        "No weight of its own: combine with `truncated`. verl bounds the negated log-ratio, so that its [a, "
        "b] is [1/b, 1/a] here. Denominators keep every token; verl, AReaL and slime divide by the kept ones.",
    .options = geometric_mask_row::options,
    .presets = geometric_mask_row::presets,
    .weight = geometric_mask_row::weight,
};

} // namespace millrace::algorithms
