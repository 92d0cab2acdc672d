#include "tools/ordered_scores.hpp"

#include <utility>

namespace millrace::tools {

constexpr std::size_t batches_a_worker = 64; // so that a slow row holds no worker up

ordered_scores::ordered_scores(std::shared_ptr<const rules::rule_set> rules, std::size_t workers,
                               std::chrono::milliseconds deadline, scored done)
    : deadline_(deadline), most_(batches_a_worker * workers), done_(std::move(done)), pool_(std::move(rules), workers) {
}

void ordered_scores::add(std::vector<rules::verifier_row> rows) {
  hand_over(most_ - 1);
  auto made = under_way_.emplace_back(std::make_shared<batch>());
  pool_.submit(std::move(rows), deadline_, [this, made](std::vector<rules::rule_set_score> scores) {
    const std::lock_guard hold(lock_);
    made->scores = std::move(scores);
    made->ready = true;
    ready_.notify_one();
  });
}

void ordered_scores::finish() {
  hand_over(0);
}

/// Hands over what is ready at the front, and waits for more while too much is left.
void ordered_scores::hand_over(std::size_t most_left) {
  while (!under_way_.empty()) {
    const auto first = under_way_.front();
    {
      std::unique_lock hold(lock_);
      if (!first->ready && under_way_.size() <= most_left)
        return;
      ready_.wait(hold, [&] { return first->ready; });
    }
    under_way_.pop_front();
    done_(first->scores);
  }
}

} // namespace millrace::tools
