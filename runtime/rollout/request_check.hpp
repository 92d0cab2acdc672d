#pragma once

#include "runtime/model/model_config.hpp"
#include "runtime/rollout/sampling.hpp"
#include "runtime/text/tokenizer.hpp"

#include <cstdint>
#include <span>

namespace millrace::rollout {

/// @param tok null: the engine has none, and stop strings are refused
/// @throws std::invalid_argument for a number out of range, or a token that `config` does not have
void check_request(const group_request& request, const model::model_config& config, const text::tokenizer* tok);

/// @throws std::invalid_argument for a token that `config` does not have
void check_tokens(std::span<const std::int32_t> tokens, const model::model_config& config);

/// @param max_context tokens of prompt and answer
/// @throws std::invalid_argument where `so_far` is not of this request, or its columns disagree
void check_partial(const partial_group& so_far, const group_request& request, const model::model_config& config,
                   std::int64_t max_context);

} // namespace millrace::rollout
