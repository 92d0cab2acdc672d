#pragma once

#include "runtime/train/training_group.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::train {

/// Over which answers a reward is brought to mean 0 and deviation 1.
enum class normalisation { none, group, batch };

/// "none", "group", "batch". @throws std::invalid_argument for another word
normalisation normalisation_named(std::string_view name);

/// One of several rewards of an answer.
struct reward_part {
  std::string name; ///< of the column `reward.<name>`
  double weight = 1;
  normalisation how = normalisation::none;
};

/// Makes one reward of several, answer by answer:
///
///     reward_i = sum_k weight_k * n_k(x_ki),  n(x) = x, or (x - mean) / (deviation + 1e-6) over the group, or the step
///
/// The deviation is unbiased; where all of the group's (the step's) are equal, and for one answer, n is 0. What is not
/// finite stays so and counts in no mean.
/// @param groups `parts` of each: one vector a part in the order of `parts`, one number an answer; `reward` is written
/// @throws std::invalid_argument naming the group whose columns disagree
///
/// Source: normalisation reward by reward before the sum: GDPO, arXiv:2601.05242, eq. 4 (`group`). Differs from it in:
/// the sum is not normalised over the batch again; that is the algorithm's own matter.
void mix_rewards(std::span<training_group> groups, std::span<const reward_part> parts);

/// Mean over all answers of the weighted sum without normalisation: the figure that people follow. 0 without answers.
double mean_raw_reward(std::span<const training_group> groups, std::span<const reward_part> parts);

} // namespace millrace::train
