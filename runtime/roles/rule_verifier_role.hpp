#pragma once

#include "runtime/data/row.hpp"
#include "runtime/pipeline/rule_verifier_table.hpp"
#include "runtime/roles/abilities.hpp"
#include "runtime/rules/rule_details.hpp"
#include "runtime/rules/verifier_pool.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace millrace::roles {

/// The rules of a table, made. @throws input_error as the rules do
std::shared_ptr<const rules::rule_set> rules_of(std::span<const pipeline::rule_entry> entries);

/// Starts what the rules of a role need outside this process.
/// @throws pipeline::pipeline_errors with each that cannot be used, at its place in the pipeline's file
void start(const rules::rule_set& rules, const pipeline::pipeline& p, const std::string& role);

/// What says why one of the sets can score no answer to a row; "" = all can. For `data::file_options::unusable`.
std::function<std::string(const data::row&)> unusable_by(std::vector<std::shared_ptr<const rules::rule_set>> sets);

/// `kind = "rule_verifier"`: scores each answer of a group by the pipeline's rules, in threads of a pool.
///
/// A failed score is never a zero. An answer that a rule cannot score in time, or fails on, makes its group unusable, a
/// complaint; with `failed = "mask"` its reward is NaN, and the group is unusable only if fewer than two others have a
/// score. A row that the rules cannot score at all (no number expected where one is compared) is a complaint always.
class rule_verifier_role : public column_adder {
public:
  /// @param reads of the role: `wanted_by`
  /// @throws input_error as the rules do
  rule_verifier_role(const pipeline::rule_verifier_table& table, transport::wanted_columns reads);

  const rules::rule_set& rules() const { return pool_.rules(); }

  transport::wanted_columns reads() const override { return reads_; }

  void add(const process_group& group, columns::column_set columns, answer_to<added_columns> done) override;

private:
  transport::wanted_columns reads_;
  rules::verifier_pool pool_;
  std::chrono::milliseconds deadline_;
  rules::rule_details details_;
  bool masks_; ///< an answer without a score, and not its group
};

} // namespace millrace::roles
