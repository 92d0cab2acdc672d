#pragma once

#include "algorithms/algorithm.hpp"

#include <ATen/core/Tensor.h>

namespace millrace::algorithms {

/// The turns of a step's answers, in their order: those of an answer one after another. T is their number. An answer
/// that is no episode has one turn.
struct turn_columns {
  at::Tensor answer; ///< [T] int64, ascending: whose turn it is; each answer has at least one
  at::Tensor length; ///< [T] int64, sampled tokens of each turn; they sum to N
  at::Tensor reward; ///< [T] double, what the environment gave for the turn
};

/// What a turn is worth: its reward, those of later turns of the answer, and the answer's own reward with the last
/// turn; what comes i turns later counts `discount`^i.
/// @param reward [A] of the answers @returns [T] double
at::Tensor turn_returns(const turn_columns& turns, const at::Tensor& reward, double discount);

/// The row's advantages where each turn has its own: a turn's return is the reward, and it is compared with the turns
/// of the same number of the group's other answers. A turn that one answer alone has reached is compared with nothing:
/// rows that compare give it 0.
/// @param step  without `value`: rows with a critic have advantages of every token
/// @returns [N] as `algorithm::advantages`
at::Tensor turn_advantages(const algorithm& row, const step_columns& step, const turn_columns& turns,
                           const hyperparameter_values& values, double discount);

} // namespace millrace::algorithms
