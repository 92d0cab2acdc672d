#pragma once

#include "runtime/messages/add_columns.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

namespace millrace::supervision {

/// Answers that have no score: a rule that timed out, a function that raised, an expected answer that nobody can read.
/// Such an answer is masked or its group is dropped, and it is never trained as if it were wrong. This book counts them
/// by role and by kind of failure, and says when there are so many of them that the run has no use.
class unscored_answers {
public:
  /// @param most_lost by role: the share of its last answers that may be lost, 0 to 1; a role that is not named may
  ///        lose all. No role may lose `window` groups in a row: no step would ever end
  explicit unscored_answers(std::map<std::string, double> most_lost) : most_lost_(std::move(most_lost)) {}

  /// @param group  whose columns a role added or could not add
  /// @param role   whose it is
  /// @returns a line for people where an answer was lost and its group goes on, for the first such group of a step; ""
  ///          elsewhere: a group that is dropped is told of by whoever drops it
  std::string add(const std::string& role, const group_columns& group);

  /// Why the run is to end: one line; "" = each share is within its bound, or too few groups are known, and no role has
  /// lost all of its last ones.
  std::string too_many() const;

  /// Since the last call, figures of a step: groups dropped as `groups/unscored` and `groups/unscored/ROLE`, answers
  /// lost in groups that went on as `answers/masked`, failures as `verifier/failures/KIND`.
  std::map<std::string, double> take_figures();

  static constexpr std::size_t window = 64, fewest = 16; ///< groups of a role

private:
  struct role_book {
    std::deque<std::array<std::int64_t, 2>> last;          ///< of up to `window` groups: answers lost, answers
    std::int64_t lost = 0, answers = 0;                    ///< their sums
    std::size_t lost_in_a_row = 0;                         ///< groups up to the last one
    std::map<std::string, std::int64_t> failures_in_a_row; ///< answers of these, by kind
    std::string last_line;
  };

  std::map<std::string, double> most_lost_;
  std::map<std::string, role_book> books_;
  std::map<std::string, std::int64_t> dropped_; ///< groups since the last step, by role
  std::map<std::string, std::int64_t> failures_;
  std::int64_t masked_ = 0;
  std::int64_t told_ = 0;
};

} // namespace millrace::supervision
