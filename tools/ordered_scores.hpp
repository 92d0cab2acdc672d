#pragma once

#include "runtime/rules/verifier_pool.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace millrace::tools {

/// Scores rows in several threads and hands the scores over in the order of the rows. It holds a bounded number of
/// rows: whoever adds more waits for the first of them.
class ordered_scores {
public:
  /// Called by the thread that adds, once for each `add`, in order.
  using scored = std::function<void(const std::vector<rules::rule_set_score>& scores)>;

  /// @param workers rows scored at once, >= 1
  /// @param deadline of each row, > 0
  ordered_scores(std::shared_ptr<const rules::rule_set> rules, std::size_t workers, std::chrono::milliseconds deadline,
                 scored done);

  /// @param rows answers to one row of data, at least one
  void add(std::vector<rules::verifier_row> rows);

  /// Waits for everything that was added.
  void finish();

private:
  struct batch {
    std::vector<rules::rule_set_score> scores;
    bool ready = false;
  };

  void hand_over(std::size_t most_left);

  std::chrono::milliseconds deadline_;
  std::size_t most_; ///< batches under way
  scored done_;
  std::mutex lock_;
  std::condition_variable ready_;
  std::deque<std::shared_ptr<batch>> under_way_; ///< of the thread that adds
  rules::verifier_pool pool_;                    ///< last: it answers before the others go
};

} // namespace millrace::tools
