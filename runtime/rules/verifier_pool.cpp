#include "runtime/rules/verifier_pool.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace millrace::rules {

using steady = std::chrono::steady_clock;

struct verifier_pool::state : std::enable_shared_from_this<state> {
  struct call {
    std::vector<verifier_row> rows;
    std::vector<rule_set_score> scores;
    std::size_t open = 0;
    std::chrono::milliseconds deadline;
    callback done;
  };

  /// Rows that are scored together: one, or all of a call.
  struct task {
    std::shared_ptr<call> of;
    std::size_t first, count;
  };

  struct running {
    task work;
    steady::time_point until;
  };

  std::shared_ptr<const rule_set> rules;
  std::mutex lock;
  std::condition_variable work_or_stop;
  std::condition_variable running_changed;
  std::condition_variable thread_ended;
  std::deque<task> waiting;
  std::map<std::uint64_t, running> in_progress; ///< by ticket; a worker whose ticket is gone has been replaced
  std::uint64_t next_ticket = 0;
  std::size_t threads = 0;
  std::chrono::milliseconds own_time{}; ///< of rules that keep their own deadlines
  bool stopping = false;

  /// Records the scores; returns the call if they were the last ones. Called with the lock held, once a task.
  static std::shared_ptr<call> settle(const task& work, std::vector<rule_set_score> results) {
    std::move(results.begin(), results.end(), work.of->scores.begin() + static_cast<std::ptrdiff_t>(work.first));
    return (work.of->open -= work.count) == 0 ? work.of : nullptr;
  }

  std::vector<rule_set_score> failed(const task& work, const score& why) const {
    return std::vector<rule_set_score>(work.count, rules->failed(why));
  }

  static void answer(const std::shared_ptr<call>& finished) {
    if (finished)
      finished->done(std::move(finished->scores));
  }

  /// The lock is held.
  void start_thread(void (state::*body)()) {
    ++threads;
    std::thread([self = shared_from_this(), body] {
      ((*self).*body)();
      const std::lock_guard hold(self->lock);
      --self->threads;
      self->thread_ended.notify_all();
    }).detach();
  }

  std::vector<rule_set_score> evaluate(const task& work) const {
    std::vector<rule_input> inputs;
    for (std::size_t row = work.first; row < work.first + work.count; ++row)
      inputs.push_back(work.of->rows[row].input());
    return rules->evaluate_group(inputs);
  }

  void work() {
    std::unique_lock hold(lock);
    for (;;) {
      work_or_stop.wait(hold, [&] { return stopping || !waiting.empty(); });
      if (stopping)
        return;
      const task mine = std::move(waiting.front());
      waiting.pop_front();
      const std::uint64_t ticket = next_ticket++;
      in_progress.emplace(ticket, running{mine, steady::now() + mine.of->deadline + own_time});
      running_changed.notify_one();
      hold.unlock();
      auto result = evaluate(mine);
      hold.lock();
      if (in_progress.erase(ticket) == 0)
        return;
      const auto finished = settle(mine, std::move(result));
      hold.unlock();
      answer(finished);
      hold.lock();
    }
  }

  void watch() {
    std::unique_lock hold(lock);
    while (!stopping) {
      auto first = in_progress.begin();
      for (auto it = in_progress.begin(); it != in_progress.end(); ++it)
        if (it->second.until < first->second.until)
          first = it;
      if (first == in_progress.end()) {
        running_changed.wait(hold);
        continue;
      }
      const steady::time_point until = first->second.until; // the entry may go while this waits
      if (steady::now() < until) {
        running_changed.wait_until(hold, until);
        continue;
      }
      const task late = first->second.work;
      in_progress.erase(first);
      start_thread(&state::work);
      const auto finished =
          settle(late, failed(late, score::error("scoring took more than "
                                                     + std::to_string((late.of->deadline + own_time).count()) + " ms",
                                                 failure_kind::timeout)));
      hold.unlock();
      answer(finished);
      hold.lock();
    }
  }

  void stop() {
    std::vector<std::shared_ptr<call>> finished;
    std::unique_lock hold(lock);
    stopping = true;
    const score closed = score::error("the verifier pool was closed");
    for (const task& t : waiting)
      finished.push_back(settle(t, failed(t, closed)));
    waiting.clear();
    for (const auto& [ticket, r] : in_progress)
      finished.push_back(settle(r.work, failed(r.work, closed)));
    in_progress.clear();
    work_or_stop.notify_all();
    running_changed.notify_all();
    hold.unlock();
    for (const auto& done_call : finished)
      answer(done_call);
    rules->give_up();
    hold.lock();
    thread_ended.wait(hold, [&] { return threads == 0; });
  }
};

verifier_pool::verifier_pool(std::shared_ptr<const rule_set> rules, std::size_t threads)
    : state_(std::make_shared<state>()) {
  if (threads == 0)
    throw std::invalid_argument("verifier_pool: got 0 threads, want at least 1");
  state_->own_time = rules->longest(threads);
  state_->rules = std::move(rules);
  const std::lock_guard hold(state_->lock);
  for (std::size_t i = 0; i < threads; ++i)
    state_->start_thread(&state::work);
  state_->start_thread(&state::watch);
}

verifier_pool::~verifier_pool() {
  state_->stop();
}

void verifier_pool::submit(std::vector<verifier_row> rows, std::chrono::milliseconds deadline, callback done) {
  if (deadline.count() <= 0)
    throw std::invalid_argument("verifier_pool: got a deadline of " + std::to_string(deadline.count())
                                + " ms, want > 0");
  if (rows.empty()) {
    done({});
    return;
  }
  const auto made = std::make_shared<state::call>();
  made->scores.resize(rows.size());
  made->open = rows.size();
  made->rows = std::move(rows);
  made->deadline = deadline;
  made->done = std::move(done);
  const std::lock_guard hold(state_->lock);
  const std::size_t together = state_->rules->wants_groups() ? made->rows.size() : 1;
  for (std::size_t row = 0; row < made->rows.size(); row += together)
    state_->waiting.push_back({made, row, together});
  state_->work_or_stop.notify_all();
}

const rule_set& verifier_pool::rules() const {
  return *state_->rules;
}

} // namespace millrace::rules
