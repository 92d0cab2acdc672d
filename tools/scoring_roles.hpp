#pragma once

#include "runtime/pipeline/stages.hpp"
#include "runtime/rules/rule_set.hpp"

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace millrace::tools {

/// A role that scores answers by rules: a verifier, or an evaluation.
struct scoring_role {
  std::string name; ///< "rules", or of a file with stages "second.rules"
  const pipeline::pipeline* in = nullptr;
  const pipeline::role* role = nullptr;
  std::span<const pipeline::rule_entry> rules;
  std::size_t workers = 1;
  std::chrono::milliseconds deadline{}; ///< of one answer
};

/// The role as one that scores; its `rules` are empty where it has none.
scoring_role scoring_role_of(const pipeline::stage& stage, const pipeline::role& role);

/// The role that is meant: by its name; without one the only verifier, or where there is none the only evaluation.
/// @param stages outlive the answer
/// @throws input_error that lists the roles there are
scoring_role scoring_role_named(const std::vector<pipeline::stage>& stages, const std::string& name);

/// The rules of the role, made and started. @throws input_error with each that cannot be used
std::shared_ptr<const rules::rule_set> started_rules(const scoring_role& scorer);

} // namespace millrace::tools
