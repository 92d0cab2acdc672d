#pragma once

#include "runtime/rules/rule_set.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace millrace::rules {

/// A `rule_input` that owns its text, for work that outlives the caller.
struct verifier_row {
  std::string text;
  std::string answer;
  std::int64_t tokens = 0;
  bool truncated = false;
  std::shared_ptr<const row_context> row = nullptr; ///< one for all answers of a group
  std::vector<std::int32_t> completion_ids = {};
  std::optional<double> environment_reward = {};

  rule_input input() const {
    return {.text = text,
            .answer = answer,
            .tokens = tokens,
            .truncated = truncated,
            .row = row.get(),
            .completion_ids = completion_ids,
            .environment_reward = environment_reward};
  }
};

/// Threads that score rows. A row whose scoring takes longer than its deadline is reported as an error and the other
/// rows go on: its thread is replaced and ends when the rule returns.
///
/// Invariants
/// - VP-1: every `submit` is answered exactly once, with one score per row in the order of the rows.
/// - VP-2: a row past its deadline holds up no other row.
/// - VP-3: after the destructor no callback runs. It answers every open call with errors, has the rules give up, and
///   waits for those that still run: rules must end (the ones in this folder do).
class verifier_pool {
public:
  using callback = std::function<void(std::vector<rule_set_score>)>;

  /// @param threads >= 1
  verifier_pool(std::shared_ptr<const rule_set> rules, std::size_t threads);
  ~verifier_pool();
  verifier_pool(const verifier_pool&) = delete;
  verifier_pool& operator=(const verifier_pool&) = delete;

  /// Scores `rows`, then calls `done` on one of the pool's threads (for no rows: before it returns).
  ///
  /// Where a rule wants groups, `rows` are scored together and have one deadline.
  ///
  /// @param deadline of each row, counted from the moment its scoring begins, > 0; what `rule::longest` says is added
  /// @param done     must not throw and must not destroy the pool
  void submit(std::vector<verifier_row> rows, std::chrono::milliseconds deadline, callback done);

  const rule_set& rules() const;

private:
  struct state;
  std::shared_ptr<state> state_;
};

} // namespace millrace::rules
