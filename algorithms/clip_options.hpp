#pragma once

#include "algorithms/algorithm.hpp"
#include "algorithms/surrogate.hpp"

namespace millrace::algorithms {

/// The clipped surrogate's options, alike in every algorithm that uses it.
inline constexpr option clip_low{"clip_low", 0.2, 0, 1, "the ratio is cut below 1 - clip_low"};
inline constexpr option clip_high{"clip_high", 0.2, 0, 1e9, "the ratio is cut above 1 + clip_high"};
inline constexpr option dual_clip{"dual_clip", 0, 0, 1e9, "bound on the loss of a negative advantage, in units of it; 0: none, else > 1"};

/// `clipped_surrogate` with those options: the losses of GRPO, RLOO and REINFORCE++.
inline at::Tensor clipped_losses(const answer_columns& answers, const option_values& values, diagnostics& found) {
  return clipped_surrogate(answers.logprob, answers.old_logprob, answers.advantage, values.get("clip_low"),
                           values.get("clip_high"), values.get("dual_clip"), found);
}

} // namespace millrace::algorithms
