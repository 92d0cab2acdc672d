#include "algorithms/correction.hpp"
#include "algorithms/corrections/importance.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace masked_row {

using namespace shared_options;

constexpr hyperparameter options[] = {
    level_of_weight,
    {.name = "low", .fallback = 0.5, .low = 0, .high = 1e9, .meaning = "below it the weight is 0"},
    {.name = "high", .fallback = 2, .low = 1e-6, .high = 1e9, .meaning = "above it the weight is 0"},
};
constexpr preset::setting slime_settings[] = {{"low", 0.5}, {"high", 2}};
constexpr preset::setting areal_settings[] = {{"low", 0}, {"high", 5}};
constexpr preset::setting areal_sequence_settings[] = {{"level", 2}, {"low", 0}, {"high", 5}};
constexpr preset::setting verl_sequence_settings[] = {{"level", 1}, {"low", 0}, {"high", 2}};
constexpr preset::setting trl_settings[] = {{"level", 1}, {"low", 0}, {"high", 3}};
constexpr preset presets[] = {{"slime", slime_settings},
                              {"areal", areal_settings},
                              {"areal_sequence", areal_sequence_settings},
                              {"verl_sequence", verl_sequence_settings},
                              {"trl", trl_settings}};

at::Tensor weight(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const at::Tensor w = importance(answers, values.word("level"));
  return kept(w, w.ge(values.get("low")).logical_and_(w.le(values.get("high"))), found);
}

} // namespace masked_row

extern const correction masked;
const correction masked{
    .name = "masked",
    .source = "Liu et al. 2025, When speed kills stability (MIS); slime train_infer_mismatch_helper",
    .summary = "importance weight, 0 outside an interval",
    .formula = "w = exp(d) where low <= exp(d) <= high, else 0;  d = old - behaviour of the token, its sum or its mean "
               "over the answer",
    .differences = "Denominators keep every token; verl, AReaL and slime divide by the kept ones.",
    .options = masked_row::options,
    .presets = masked_row::presets,
    .weight = masked_row::weight,
};

} // namespace millrace::algorithms
