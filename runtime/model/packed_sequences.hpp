#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace millrace::model {

/// Where the tokens of one group lie in a packed call: [prompt | answer 1 | answer 2 | ...]. The prompt is causal in
/// itself; an answer's token sees the whole prompt and its own answer up to itself, never another answer. Positions of
/// every answer go on after the prompt. A plain sequence is a group without answers.
struct packed_group {
  std::int64_t prompt = 0;           ///< tokens, >= 1
  std::vector<std::int64_t> answers; ///< tokens of each answer that are fed, >= 0
};

/// Groups one after another without padding, and which row predicts which answer token.
///
/// An answer's last token predicts nothing, so it is not fed: an answer of L tokens takes L - 1 rows, and its L
/// log-probabilities come from the prompt's last row and those L - 1. T: fed tokens; N: answer tokens, in the order of
/// groups and answers.
struct packed_sequences {
  std::vector<packed_group> groups;
  at::Tensor tokens;    ///< [T] int64
  at::Tensor positions; ///< [T] int64
  at::Tensor rows;      ///< [N] int64: the row in [0, T) that predicts answer token n
  at::Tensor targets;   ///< [N] int64: answer token n
};

/// One prompt and answers to it, as token ids; views.
struct prompt_and_answers {
  std::span<const std::int32_t> prompt; ///< at least one token
  std::vector<std::span<const std::int32_t>> answers;
};

/// Lays groups out on the CPU. @throws std::invalid_argument for an empty prompt
packed_sequences pack(std::span<const prompt_and_answers> groups);

/// A whole sequence for its hidden states: one group, no answers. @param tokens [T] int64
packed_sequences pack_sequence(const at::Tensor& tokens);

} // namespace millrace::model
