#include "algorithms/correction.hpp"
#include "algorithms/corrections/importance.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace icepop_row {

constexpr hyperparameter options[] = {
    {.name = "low", .fallback = 0.5, .low = 0, .high = 1e9, .meaning = "below it a token is masked"},
    {.name = "high", .fallback = 5, .low = 1e-6, .high = 1e9, .meaning = "above it a token is masked"},
};
constexpr preset::setting paper_settings[] = {{"low", 0.5}, {"high", 5}};
constexpr preset::setting verl_settings[] = {{"low", 0.5}, {"high", 5}};
constexpr preset::setting prime_rl_settings[] = {{"low", 0.2}, {"high", 5}};
constexpr preset::setting slime_settings[] = {{"low", 0}, {"high", 2}};
constexpr preset presets[] = {
    {"paper", paper_settings}, {"verl", verl_settings}, {"prime_rl", prime_rl_settings}, {"slime", slime_settings}};

at::Tensor weight(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const at::Tensor w = importance(answers, "token");
  return kept(w, w.ge(values.get("low")).logical_and_(w.le(values.get("high"))), found);
}

} // namespace icepop_row

extern const correction icepop;
const correction icepop{
    .name = "icepop",
    .source = "Ling Team 2025, Every Step Evolves (IcePop), arXiv:2510.18855",
    .summary = "importance weight of each token, 0 where training and rollout disagree on either side",
    .formula = "w = exp(old - behaviour) where low <= it <= high, else 0",
    .differences = "The paper and verl: [0.5, 5]; prime-rl: [0.2, 5]; slime's defaults: [0, 2].",
    .options = icepop_row::options,
    .presets = icepop_row::presets,
    .weight = icepop_row::weight,
};

} // namespace millrace::algorithms
