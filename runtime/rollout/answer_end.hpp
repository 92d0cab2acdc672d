#pragma once

#include "runtime/rollout/sampling.hpp"
#include "runtime/text/tokenizer.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace millrace::rollout {

/// Whether the last of `tokens` ends the answer, and why. An end token goes before a stop string, either before length.
/// @param tok  may be null if there are no stop strings
/// @param room tokens that fit into the context behind the prompt
std::optional<finish_reason> end_of_answer(std::span<const std::int32_t> tokens, const sampling& how,
                                           const text::tokenizer* tok, std::int64_t room);

/// The answer's text without special tokens, cut before the first stop string if it ended for one.
/// @param tok null: ""
std::string text_of_answer(std::span<const std::int32_t> tokens, finish_reason end, const sampling& how,
                           const text::tokenizer* tok);

} // namespace millrace::rollout
