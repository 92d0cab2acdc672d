#pragma once

#include "runtime/model/decoder.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace millrace::model {

/// log softmax(logits / temperature) of every token of every answer to one prompt, in natural logarithms: what the
/// reference role and `millrace score` compute. Equal to what the rollout engine stamps for the same tokens, weights
/// and temperature: on the CPU bit for bit, on a GPU to rounding. The prompt is computed once; logits exist for at most
/// 64 tokens at a time.
///
/// @param policy      as `inference_decoder` makes it
/// @param prompt      at least one token
/// @param answers     each possibly empty; prompt + answer at most the model's context
/// @param temperature >= 0; 0 counts as 1
/// @returns [sum of the answers' lengths], one answer after another
/// @throws std::invalid_argument for an empty prompt, a token outside the vocabulary or a text beyond the context
std::vector<float> answer_logprobs(const decoder& policy, std::span<const std::int32_t> prompt,
                                   std::span<const std::vector<std::int32_t>> answers, double temperature, int threads);

} // namespace millrace::model
