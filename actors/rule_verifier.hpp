#pragma once

#include "actors/stage_shell.hpp"
#include "runtime/rules/verifier_pool.hpp"

#include <span>

namespace millrace::actors {

/// The rules of a table, made. @throws input_error as the rules do
std::shared_ptr<const rules::rule_set> rules_of(std::span<const pipeline::rule_entry> entries);

/// Scores each answer of a group by the pipeline's rules. Reads `text`, `text_lengths`, `lengths`, `finish` and the row's
/// answer; adds `reward` and `reward.<rule>`, f32 [answers].
///
/// An answer that a rule cannot score in time, or fails on, gets the rule's 0 and is counted in the summary
/// (`verifier/errors`); a row that the rules cannot score at all (no number expected where one is compared) makes the
/// group unusable: a complaint.
class rule_verifier : public stage_work {
public:
  /// @throws input_error as the rules do
  explicit rule_verifier(const pipeline::rule_verifier_table& table);

  void process(const process_group& group, column_set columns, std::function<void(stage_result)> done) override;

private:
  rules::verifier_pool pool_;
  std::chrono::milliseconds deadline_;
};

} // namespace millrace::actors
