#pragma once

#include "runtime/text/tokenizer.hpp"
#include "runtime/train/training_group.hpp"
#include "runtime/words/shown_tokens.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace millrace::train {

/// How many tokens of each answer of a group are shown: the answers share the bound of `shown_group`. What a short one
/// leaves, those after it have.
std::vector<std::size_t> shown_tokens_of(const training_group& group);

/// The first tokens of the first groups of a batch, as many as are shown of each answer.
/// @param policy_logprob as `step_report` has it; may end early
/// @param left_out ids of the groups that `policy_logprob` passes over
/// @param tok null: nothing is shown
std::vector<shown_group> shown_groups_of(std::span<const training_group> groups, std::span<const float> policy_logprob,
                                         std::span<const std::uint64_t> left_out,
                                         const std::shared_ptr<const text::tokenizer>& tok);

} // namespace millrace::train
