#include "algorithms/correction.hpp"
#include "algorithms/corrections/importance.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace aspo_row {

constexpr hyperparameter options[] = {
    {.name = "cap", .fallback = 3, .low = 1, .high = 1e9, .meaning = "largest reciprocal ratio"},
};
constexpr preset::setting archer_settings[] = {{"cap", 3}};
constexpr preset presets[] = {{"archer", archer_settings}};

at::Tensor weight(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const at::Tensor r = (answers.logprob.detach() - answers.old_logprob.detach()).clamp(-20, 20).exp();
  const at::Tensor flipped = r.reciprocal();
  const double cap = values.get("cap");
  const at::Tensor good = answers.advantage.gt(0);
  found.truncated += flipped.gt(cap).logical_and_(good).sum().item<std::int64_t>();
  return at::where(good, flipped.clamp_max(cap) * flipped, at::ones_like(r));
}

} // namespace aspo_row

extern const correction aspo;
const correction aspo{
    .name = "aspo",
    .source = "Wang et al. 2025, ASPO, arXiv:2510.06062, section 3.2",
    .summary = "turns the ratio over where the advantage is positive, so that unlikely tokens gain most",
    .formula = "r = exp(logprob - old);  w = min(1 / r, cap) / r where A > 0, else 1: the surrogate's r A becomes "
               "min(1 / r, cap) A",
    .differences = "As Archer2.0's code has it, above the upper clip the gradient is gone by the surrogate's own clip; "
                   "the soft dual clip of A < 0 is the option dual_clip of the algorithm (hard: no gradient beyond it, "
                   "where Archer keeps one).",
    .options = aspo_row::options,
    .presets = aspo_row::presets,
    .weight = aspo_row::weight,
};

} // namespace millrace::algorithms
