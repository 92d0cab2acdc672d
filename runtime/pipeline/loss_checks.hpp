#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/pipeline/reader.hpp"

#include <string>

namespace millrace::pipeline {

/// k3 is cut off at this |log-ratio| in any case: its exponential would overflow.
inline constexpr double k3_input = 20;

/// What the keys of a policy's loss say together. @param path of the policy: "roles.learner"
void check_loss(const policy_table& policy, const std::string& path, reading& into);

/// An algorithm that compares the answers of a group needs groups of several.
void check_group_size(const pipeline& p, const role& r, const policy_table& policy, reading& into);

} // namespace millrace::pipeline
