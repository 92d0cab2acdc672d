#pragma once

#include "runtime/rollout/sampling.hpp"
#include "runtime/text/tokenizer.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace millrace::rollout {

/// Whether the last of `tokens` ends the answer, or its turn, and why. An end token goes before a stop string, either
/// before length.
/// @param first of the turn under way
/// @param tok  may be null if there are no stop strings
/// @param room tokens of the answer with which its context is full
std::optional<finish_reason> end_of_answer(std::span<const std::int32_t> tokens, std::size_t first, const sampling& how,
                                           const text::tokenizer* tok, std::int64_t room);

/// Whether an answer of `count` tokens can have no other.
bool is_full(std::size_t count, const sampling& how, std::int64_t room);

/// The tokens of an answer's last turn; of an answer without turns all of them.
std::span<const std::int32_t> last_turn(const answer& a);

/// Where the sequence that an answer goes on with begins, counted in the answer's tokens: at its last segment, or as
/// far before them as the prompt is long.
std::int64_t sequence_begin(const answer& a, std::int64_t prompt_tokens);

/// The answer's text without special tokens, cut before the first stop string if it ended for one.
/// @param tok null: ""
std::string text_of_answer(std::span<const std::int32_t> tokens, finish_reason end, const sampling& how,
                           const text::tokenizer* tok);

} // namespace millrace::rollout
