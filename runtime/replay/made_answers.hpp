#pragma once

#include "runtime/model/decoder.hpp"
#include "runtime/rollout/engine.hpp"
#include "runtime/train/training_group.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace millrace::replay {

/// Which version sampled which tokens of an answer.
using flips = std::vector<train::version_run>;

/// The weights of a version, ready for an engine.
using policies = std::function<std::shared_ptr<const model::decoder>(std::uint32_t version)>;

/// A group of which only some answers are made. @param wanted their indices; all others are as ended
rollout::partial_group all_but(const rollout::group_request& request, const std::vector<std::uint32_t>& wanted);

/// One answer of a group whose answers are episodes. What its environment said is the record's. New weights that came
/// while it waited for a reply are there before the reply is read.
/// @param engine with the weights of the first of `runs`  @param answer its index
/// @throws input_error where new weights came while a reply was read
rollout::answer played_with(rollout::engine engine, const rollout::group_request& request, std::uint32_t answer,
                            const flips& runs, const train::played_answer& played, const policies& policy_of);

/// Answers of one group that new weights met at the same tokens, made together: a flip falls between two tokens, and
/// what was handed over and went on has its keys and values computed anew, as a flip with `recompute` does.
/// @param engine with the weights of the first of `runs`  @param others `all_but` those that are wanted; nothing: all
/// are
std::vector<rollout::answer> made_with(rollout::engine engine, const rollout::group_request& request,
                                       std::optional<rollout::partial_group> others, const flips& runs,
                                       const policies& policy_of);

} // namespace millrace::replay
