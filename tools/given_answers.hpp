#pragma once

#include "runtime/data/source.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/rules/verifier_pool.hpp"
#include "tools/scoring_roles.hpp"

#include <string>
#include <string_view>

namespace millrace::tools {

/// Reads answers that somebody gave, for the rules of a role: what a run's verifier would be handed.
///
/// A row is a JSON object: the data row's own fields (docs/rows.md) under our names or under those that `columns` of
/// the role's source gives them, and `completion`: text, which may be empty, or messages of the assistant. `tokens` (a
/// number, or the ids) is the completion's length and `truncated` (true or false) whether it was cut off; both may be
/// left out.
class given_answers {
public:
  /// Loads the tokenizer where a rule counts tokens or is handed them; never weights.
  /// @throws input_error if that tokenizer cannot be read
  explicit given_answers(const scoring_role& scorer);

  /// @throws input_error with the reason alone
  rules::verifier_row read(std::string_view text) const;

private:
  data::column_names columns_;
  std::string system_; ///< message before prompts that have none; "" = none
  model::checkpoint words_;
  bool counts_ = false; ///< tokens that the row does not say
};

/// Whether two answers are about one row of data.
bool same_row(const rules::verifier_row& a, const rules::verifier_row& b);

} // namespace millrace::tools
