#pragma once

#include "runtime/pipeline/critic_table.hpp"
#include "runtime/pipeline/demonstrations_table.hpp"
#include "runtime/pipeline/environment_table.hpp"
#include "runtime/pipeline/evaluation_table.hpp"
#include "runtime/pipeline/policy_table.hpp"
#include "runtime/pipeline/reference_table.hpp"
#include "runtime/pipeline/reward_model_table.hpp"
#include "runtime/pipeline/rollout_table.hpp"
#include "runtime/pipeline/rule_verifier_table.hpp"
#include "runtime/pipeline/source_table.hpp"

#include <variant>

namespace millrace::pipeline {

/// The one list of role kinds. A new kind is a `<kind>_table.hpp` (kind, summary, heavy, replicated, abilities, reads,
/// adds, visit), a `runtime/roles/<kind>_role.cpp` and a word here. CMake reads the words of this list
/// (`millrace_add_roles`): a word compiles the role and demands its test. docs/add-one.md goes through all of it.
using role_options =
    std::variant<source_table, rollout_table, demonstrations_table, environment_table, rule_verifier_table,
                 reward_model_table, reference_table, critic_table, policy_table, evaluation_table>;

} // namespace millrace::pipeline
