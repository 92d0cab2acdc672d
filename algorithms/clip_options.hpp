#pragma once

#include "algorithms/algorithm.hpp"
#include "algorithms/surrogate.hpp"

namespace millrace::algorithms {

namespace shared_options {

/// The options of the clipped surrogate, the same in every algorithm that uses it.
inline constexpr hyperparameter clip_low{
    .name = "clip_low",
    .fallback = 0.2,
    .low = 0,
    .high = 1,
    .meaning = "the ratio is cut below 1 - clip_low",
};
inline constexpr hyperparameter clip_high{
    .name = "clip_high",
    .fallback = 0.2,
    .low = 0,
    .high = 1e9,
    .meaning = "the ratio is cut above 1 + clip_high",
};
inline constexpr hyperparameter dual_clip{
    .name = "dual_clip",
    .fallback = 0,
    .low = 1,
    .high = 1e9,
    .meaning = "a negative advantage A has at most the loss -dual_clip A; 0: no bound",
    .takes = range::zero_or_above,
};

} // namespace shared_options

/// `clipped_surrogate` with those options: the losses of GRPO, RLOO and REINFORCE++.
inline at::Tensor clipped_losses(const answer_columns& answers, const hyperparameter_values& values,
                                 diagnostics& found) {
  return clipped_surrogate(answers.logprob, answers.old_logprob, answers.advantage, values.get("clip_low"),
                           values.get("clip_high"), values.get("dual_clip"), found);
}

} // namespace millrace::algorithms
