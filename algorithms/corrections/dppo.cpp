#include "algorithms/correction.hpp"
#include "algorithms/corrections/importance.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace dppo_row {

constexpr hyperparameter options[] = {
    {.name = "low",
     .fallback = 0.2,
     .low = 0,
     .high = 1,
     .meaning = "A <= 0: a token is masked where its probability fell by more"},
    {.name = "high",
     .fallback = 0.2,
     .low = 0,
     .high = 1,
     .meaning = "A > 0: a token is masked where its probability rose by more"},
    {.name = "symmetric",
     .fallback = 0,
     .low = 0,
     .high = 1,
     .meaning =
         "1: a token is masked where its probability moved by more than high either way (prime-rl's IPO variant)",
     .takes = range::whole},
};
constexpr preset::setting prime_rl_settings[] = {{"low", 0.2}, {"high", 0.2}};
constexpr preset::setting prime_rl_ipo_settings[] = {{"symmetric", 1}, {"high", 0.1}};
constexpr preset presets[] = {{"prime_rl", prime_rl_settings}, {"prime_rl_ipo", prime_rl_ipo_settings}};

at::Tensor weight(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const at::Tensor moved = answers.logprob.detach().exp() - answers.behaviour_logprob.detach().exp();
  const double low = values.get("low"), high = values.get("high");
  const at::Tensor far = values.on("symmetric") ? moved.abs().gt(high)
                                                : at::where(answers.advantage.gt(0), moved.gt(high), moved.lt(-low));
  return kept(at::ones_like(moved), far.logical_not(), found);
}

} // namespace dppo_row

extern const correction dppo;
const correction dppo{
    .name = "dppo",
    .source = "DPPO, arXiv:2602.04879 (binary total variation); prime-rl loss.py::default_loss_fn",
    .summary = "masks tokens whose probability, not its ratio, moved too far the way the advantage pushes",
    .formula =
        "w = 0 where A > 0 and p - p_behaviour > high, or A <= 0 and p - p_behaviour < -low, else 1;  p = exp(logprob)",
    .differences = "prime-rl's loss is unclipped against the behaviour policy (proximal = \"behaviour\", clip_low = 1, "
                   "a large clip_high) and adds 1e-3 times the squared log-ratio, which is not part of the mask.",
    .options = dppo_row::options,
    .presets = dppo_row::presets,
    .weight = dppo_row::weight,
};

} // namespace millrace::algorithms
