#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace millrace::algorithms {

enum class aggregation { token_mean, sequence_mean, fixed_length, group_mean };

inline constexpr std::array<std::string_view, 4> aggregation_words{"token_mean", "sequence_mean", "fixed_length",
                                                                   "group_mean"};

/// The denominators of a whole optimizer step. They are the same however the step is cut into micro-batches, and masked
/// tokens stay counted.
struct step_totals {
  std::int64_t tokens = 0;  ///< answer tokens
  std::int64_t answers = 0; ///< answers of at least one token
  std::int64_t groups = 0;  ///< groups of at least one token
};

/// Makes one number of the losses of tokens. The sum over a step's micro-batches is the step's loss.
///
///     token_mean:    sum of all losses / tokens of the step
///     sequence_mean: sum over answers of the mean loss of the answer / answers of the step
///     fixed_length:  sum of all losses / (answers of the step * constant)
///     group_mean:    sum over groups of the mean loss over the group's tokens / groups of the step
///
/// @param losses [N]   @param length [A] int64, sums to N; an empty answer adds nothing
/// @param group_tokens [A] int64, tokens of the answer's whole group in the step (group_mean only)
/// @param constant > 0, tokens (fixed_length only)
/// @returns scalar; 0 for a step without tokens
///
/// Source: token_mean as DAPO, arXiv:2503.14476, eq. 8; sequence_mean as GRPO, arXiv:2402.03300, eq. 3; fixed_length as
/// Dr. GRPO, arXiv:2503.20783, section 3; group_mean weighs every prompt alike.
at::Tensor aggregate(aggregation how, const at::Tensor& losses, const at::Tensor& length,
                     const at::Tensor& group_tokens, const step_totals& totals, double constant);

/// "token_mean", "sequence_mean", "fixed_length", "group_mean". @throws std::invalid_argument for another word
aggregation aggregation_named(std::string_view name);

/// The word of a pipeline file.
std::string_view name_of(aggregation how);

} // namespace millrace::algorithms
