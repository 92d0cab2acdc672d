#pragma once

#include "algorithms/policy_loss.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/train/learner.hpp"
#include "runtime/train/reward_mix.hpp"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace millrace::roles {

/// The options of a row as numbers: a word becomes its index.
std::map<std::string, double> numbers_of(std::span<const algorithms::hyperparameter> options,
                                         const millrace::option_values& values);

/// The loss as the pipeline has it.
algorithms::loss_options loss_options_of(const pipeline::loss_table& table);

/// The policy's `rewards` for `train::mix_rewards`.
std::vector<train::reward_part> reward_parts_of(const pipeline::pipeline& p);

/// An optimizer as a role's table has it, over so many steps in all.
train::optimizer_options optimizer_options_of(const pipeline::optimizer_table& table, std::int64_t steps);

/// Whether the policy's ranks share out its groups: it has several, and nothing takes all groups in one process. A
/// critic does, and so do episodes and steps in parts.
bool ranks_share_groups(const pipeline::pipeline& p);

/// The learner's options as the pipeline has them, but for its device, which is looked for where it learns.
train::learner_options learner_options_of(const pipeline::pipeline& p, int threads);

} // namespace millrace::roles
