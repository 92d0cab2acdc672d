#pragma once

#include "runtime/train/training_group.hpp"
#include "runtime/words/age_mask.hpp"

#include <cstdint>
#include <span>

namespace millrace::train {

/// Marks in `training_group::trains` what is too old. It stays in every denominator and in what advantages are made of,
/// and has no part in the loss.
/// @returns tokens taken out that would have been trained otherwise
std::int64_t mask_old(std::span<training_group> groups, age_mask how, std::uint32_t train_from);

/// Tokens of an answer that have a part in the loss.
std::int64_t tokens_in_loss(const training_group& group, std::size_t answer);

} // namespace millrace::train
