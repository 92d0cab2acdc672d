#pragma once

#include "runtime/model/arithmetic.hpp"
#include "runtime/model/decoder.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace millrace::model {

struct token_logprobs {
  at::Tensor logprob; ///< [N] nats, differentiable in `hidden` and the head
  at::Tensor entropy; ///< [N] nats, of the distribution each token was drawn from; differentiable likewise
};

/// Log-probabilities of given tokens under softmax(hidden W^T / temperature). The vocabulary is walked in blocks with
/// running sums, and the backward pass computes each block again: about 4 million logits exist at a time, never those
/// of a batch. Several tokens may share a row (first tokens of the answers to one prompt); its logits are computed
/// once.
///
/// @param hidden [T, hidden]   @param rows [N] int64 in [0, T)   @param targets [N] int64 in [0, vocab)
/// @param temperature > 0   @param how of the pass that made `hidden`; logits of bfloat16 are fp32
token_logprobs token_logprob(const at::Tensor& hidden, const linear_weight& head, const at::Tensor& rows,
                             const at::Tensor& targets, double temperature, const arithmetic& how = {});

/// Words of the vocabulary in one of `token_logprob`'s blocks. @param rows distinct ones
std::int64_t words_at_once(std::int64_t rows, std::int64_t vocab);

/// Log-probability of every token of some answers to one prompt, without gradients: what a reference role and
/// `millrace score` need. @returns one row per answer
std::vector<std::vector<float>> score_answers(const decoder& model, std::span<const std::int32_t> prompt,
                                              std::span<const std::vector<std::int32_t>> answers,
                                              double temperature = 1);

} // namespace millrace::model
