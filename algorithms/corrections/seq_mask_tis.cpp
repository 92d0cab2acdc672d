#include "algorithms/correction.hpp"
#include "algorithms/corrections/importance.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace seq_mask_tis_row {

constexpr hyperparameter options[] = {
    {.name = "low",
     .fallback = 0.999,
     .low = 0,
     .high = 1,
     .meaning = "smallest geometric mean ratio of an answer that is kept"},
    {.name = "high",
     .fallback = 1.002,
     .low = 1,
     .high = 1e9,
     .meaning = "largest geometric mean ratio of an answer that is kept"},
};
constexpr preset::setting nemo_rl_settings[] = {{"low", 0.999}, {"high", 1.002}};
constexpr preset presets[] = {{"nemo_rl", nemo_rl_settings}};

at::Tensor weight(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const at::Tensor g = importance(answers, "geometric");
  return kept(importance(answers, "token"), g.ge(values.get("low")).logical_and_(g.le(values.get("high"))), found);
}

} // namespace seq_mask_tis_row

extern const correction seq_mask_tis;
const correction seq_mask_tis{
    .name = "seq_mask_tis",
    .source = "NeMo-RL loss_functions.py, seq-mask-tis; OpenRLHF",
    .summary = "each token's whole importance weight, in answers whose mean log-ratio is near 0",
    .formula = "w = exp(old - behaviour) where low <= exp(mean over the answer of old - behaviour) <= high, else 0",
    .differences = "NeMo-RL and OpenRLHF demand both bounds; the defaults are those of NeMo-RL's reference run.",
    .options = seq_mask_tis_row::options,
    .presets = seq_mask_tis_row::presets,
    .weight = seq_mask_tis_row::weight,
};

} // namespace millrace::algorithms
