#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

namespace millrace::algorithms {

enum class aggregation { token_mean, sequence_mean };

/// The denominators of a whole optimizer step, so that how it was cut into micro-batches changes nothing.
struct step_totals {
  std::int64_t tokens = 0;  ///< answer tokens
  std::int64_t answers = 0; ///< answers of at least one token
};

/// One number out of per-token losses; the sum over a step's micro-batches is the step's loss.
///
///     token_mean:    sum of all losses / tokens of the step
///     sequence_mean: sum over answers of the mean loss of the answer / answers of the step
///
/// @param losses [N]   @param length [A] int64, sums to N; an empty answer adds nothing
/// @returns scalar; 0 for a step without tokens
///
/// Source: token_mean as DAPO, arXiv:2503.14476, eq. 8; sequence_mean as GRPO, arXiv:2402.03300, eq. 3.
at::Tensor aggregate(aggregation how, const at::Tensor& losses, const at::Tensor& length, const step_totals& totals);

/// "token_mean", "sequence_mean". @throws std::invalid_argument for another word
aggregation aggregation_named(std::string_view name);

} // namespace millrace::algorithms
