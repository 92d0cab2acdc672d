#include "algorithms/correction.hpp"
#include "algorithms/corrections/importance.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace millrace::algorithms {
namespace truncated_row {

using namespace shared_options;

constexpr hyperparameter options[] = {
    level_of_weight,
    {.name = "cap", .fallback = 2, .low = 1e-6, .high = 1e9, .meaning = "largest weight"},
    {.name = "floor", .fallback = 0, .low = 0, .high = 1e9, .meaning = "smallest weight, at most the cap"},
};
constexpr preset::setting verl_token_settings[] = {{"cap", 2}};
constexpr preset::setting verl_sequence_settings[] = {{"level", 1}, {"cap", 2}};
constexpr preset::setting skyrl_sequence_settings[] = {{"level", 1}, {"cap", 5}};
constexpr preset::setting slime_settings[] = {{"cap", 2}};
constexpr preset::setting openrlhf_settings[] = {{"floor", 0.5}, {"cap", 5}};
constexpr preset presets[] = {{"verl_token", verl_token_settings},
                              {"verl_sequence", verl_sequence_settings},
                              {"skyrl_sequence", skyrl_sequence_settings},
                              {"slime", slime_settings},
                              {"openrlhf", openrlhf_settings}};

at::Tensor weight(const answer_columns& answers, const hyperparameter_values& values, diagnostics& found) {
  const double cap = values.get("cap");
  const at::Tensor w = importance(answers, values.word("level")).clamp_max(cap);
  found.truncated += w.ge(cap).sum().item<std::int64_t>();
  return w.clamp(std::min(values.get("floor"), cap), cap);
}

} // namespace truncated_row

extern const correction truncated;
const correction truncated{
    .name = "truncated",
    .source = "Yao et al. 2025, Your efficient RL framework secretly brings you off-policy RL training (TIS)",
    .summary = "importance weight, cut at a cap",
    .formula =
        "w = min(exp(d), cap), at least floor;  d = old - behaviour of the token, its sum or its mean over the answer",
    .differences = "verl caps at 2 and has no floor; OpenRLHF clamps to [0.5, 5]; SkyRL caps the answer's product at "
                   "5. ROLL's 'tis' clamps current over old to [0, 1] and is another thing. AReaL's answer-level "
                   "weight is the geometric mean: level = geometric.",
    .options = truncated_row::options,
    .presets = truncated_row::presets,
    .weight = truncated_row::weight,
};

} // namespace millrace::algorithms
