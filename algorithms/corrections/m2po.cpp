#include "algorithms/correction.hpp"
#include "algorithms/corrections/importance.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace millrace::algorithms {
namespace m2po_row {

constexpr hyperparameter options[] = {
    {.name = "threshold",
     .fallback = 0.04,
     .low = 1e-12,
     .high = 1e9,
     .meaning = "the kept tokens' mean squared log-ratio stays below it"},
};
constexpr preset::setting areal_settings[] = {{"threshold", 0.04}};
constexpr preset presets[] = {{"areal", areal_settings}};

/// Suffix means of the sorted squares: masks the largest until the mean of the rest is below the threshold, and always
/// keeps the smallest.
at::Tensor weight(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const at::Tensor squares = log_ratio(answers).square();
  const std::int64_t n = squares.numel();
  if (n == 0)
    return squares;
  const auto [ascending, order] = squares.to(at::kDouble).sort(0, /*descending=*/false);
  const at::Tensor means = ascending.cumsum(0) / at::arange(1, n + 1, ascending.options());
  const std::int64_t keep = std::max<std::int64_t>(means.lt(values.get("threshold")).sum().item<std::int64_t>(), 1);
  at::Tensor keeps = at::zeros({n}, squares.options().dtype(at::kBool));
  keeps.index_fill_(0, order.narrow(0, 0, keep), true);
  return kept(at::ones_like(squares), keeps, found);
}

} // namespace m2po_row

extern const correction m2po;
const correction m2po{
    .name = "m2po",
    .source = "Zheng et al. 2025, Prosperity before collapse (M2PO), arXiv:2510.01161",
    .summary = "masks the tokens of a step with the largest squared log-ratios until their second moment is small",
    .formula = "w = 1 for the largest set of tokens of the step, smallest (old - behaviour)^2 first, whose mean stays "
               "below threshold, else 0",
    .differences = "AReaL's code measures old against behaviour (here), its text current against behaviour. Equal "
                   "squares at the cut: the earlier token stays. The paper's objective has no clip: combine with "
                   "clip_low = 1 and a large clip_high. Denominators keep every token; AReaL divides by the kept ones.",
    .options = m2po_row::options,
    .presets = m2po_row::presets,
    .sees = scope::step,
    .weight = m2po_row::weight,
};

} // namespace millrace::algorithms
