#pragma once

#include "runtime/model/arithmetic.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/decoder.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace millrace::model {

/// The model as a critic or a reward model needs it: one number a token, `score.weight` [1, hidden], no bias.
///
/// A sequence-classification checkpoint of one label is returned as it is. A language model loses its own output layer
/// and gets a head of zeros: every number it gives is 0 until it is trained, whatever the seed.
checkpoint with_score_head(checkpoint model);

/// The number at some rows: hidden[rows] w^T, [N], differentiable in `hidden` and `head`.
/// @param hidden [T, hidden]   @param head weight [1, hidden]   @param rows [N] int64 in [0, T)
/// @param how of the pass that made `hidden`; numbers of bfloat16 are fp32
at::Tensor token_scores(const at::Tensor& hidden, const linear_weight& head, const at::Tensor& rows,
                        const arithmetic& how = {});

/// The number before each answer token, read at the row that predicts it: the first is read at the prompt's last
/// token, before anything of the answer is known. What a critic adds as `value`. Depends on the prompt, the answers,
/// the weights and the threads alone, bit for bit.
///
/// @param model  with a score head
/// @param prompt at least one token
/// @param tokens_at_once fed in one forward pass, >= 1; one answer always fits. The prompt is fed with each pass
/// @returns [sum of the answers' lengths], one answer after another
/// @throws std::invalid_argument for an empty prompt, a token outside the vocabulary or a text beyond the context
std::vector<float> answer_values(const decoder& model, std::span<const std::int32_t> prompt,
                                 std::span<const std::vector<std::int32_t>> answers, std::int64_t tokens_at_once = 4096,
                                 const arithmetic& how = {});

/// What a score is read behind: prompt and answer without the tokens `pad` at their end, but at least one token.
/// transformers reads there too: where its padding is the end token, as in many reward models, the number stands before
/// the end token.
struct scored_part {
  std::span<const std::int32_t> prompt, answer;
};

scored_part scored_part_of(std::span<const std::int32_t> prompt, std::span<const std::int32_t> answer,
                           std::optional<std::int32_t> pad);

/// The number at the last token of each `scored_part`, with the padding of the model's config: what a reward model says
/// of each answer. Otherwise as `answer_values`. @returns one number an answer
std::vector<float> answer_scores(const decoder& model, std::span<const std::int32_t> prompt,
                                 std::span<const std::vector<std::int32_t>> answers,
                                 std::int64_t tokens_at_once = 4096);

} // namespace millrace::model
