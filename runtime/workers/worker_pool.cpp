#include "runtime/workers/worker_pool.hpp"

#include <condition_variable>
#include <csignal>
#include <deque>
#include <exception>
#include <future>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

namespace millrace::workers {

/// A process dies with the thread that started it, so one thread that lives as long as the pool starts them all.
struct worker_pool::state {
  using process = std::unique_ptr<worker_process>;

  worker_command command;
  greeting greet;
  std::mutex lock;
  std::condition_variable free_or_ended, wanted_or_stop;
  std::vector<process> idle;
  std::size_t busy = 0;
  std::set<pid_t> asked; ///< processes that somebody waits for
  std::deque<std::promise<process>> wanted;
  bool stopping = false;
  std::thread starter;

  static worker_failure closed() { return {failure_kind::refused, "its processes were ended"}; }

  /// A process that somebody waits for, while this lives.
  class waited_for {
  public:
    /// @throws worker_failure if the pool is closed
    waited_for(state& of, const worker_process& whom) : of_(of), whom_(whom.id()) {
      const std::lock_guard hold(of_.lock);
      if (of_.stopping)
        throw closed();
      of_.asked.insert(whom_);
    }

    ~waited_for() {
      const std::lock_guard hold(of_.lock);
      of_.asked.erase(whom_);
    }

    waited_for(const waited_for&) = delete;
    waited_for& operator=(const waited_for&) = delete;

  private:
    state& of_;
    pid_t whom_;
  };

  void start_processes() {
    std::unique_lock hold(lock);
    for (;;) {
      wanted_or_stop.wait(hold, [&] { return stopping || !wanted.empty(); });
      if (stopping) {
        for (auto& ask : std::exchange(wanted, {}))
          ask.set_exception(std::make_exception_ptr(closed()));
        return;
      }
      auto ask = std::move(wanted.front());
      wanted.pop_front();
      hold.unlock();
      try {
        ask.set_value(std::make_unique<worker_process>(command));
      } catch (...) {
        ask.set_exception(std::current_exception());
      }
      hold.lock();
    }
  }

  process started(std::chrono::milliseconds start_up) {
    std::future<process> made;
    {
      const std::lock_guard hold(lock);
      if (stopping)
        throw closed();
      made = wanted.emplace_back().get_future();
      wanted_or_stop.notify_one();
    }
    auto fresh = made.get();
    if (!greet)
      return fresh;
    const waited_for its_greeting(*this, *fresh);
    std::string why;
    try {
      why = greet(fresh->receive(std::chrono::steady_clock::now() + start_up));
    } catch (const worker_failure& failure) {
      why = std::string("while it starts: ") + failure.what();
    }
    if (!why.empty())
      throw worker_failure(failure_kind::refused, why);
    return fresh;
  }
};

worker_pool::worker_pool(worker_command command, std::size_t count, greeting greet, std::chrono::milliseconds start_up)
    : count_(count), start_up_(start_up), state_(std::make_unique<state>()) {
  state_->command = std::move(command);
  state_->greet = std::move(greet);
  state_->starter = std::thread([this] { state_->start_processes(); });
}

worker_pool::~worker_pool() {
  close();
  state_->starter.join();
}

void worker_pool::close() {
  std::vector<state::process> idle;
  const std::lock_guard hold(state_->lock);
  state_->stopping = true;
  state_->wanted_or_stop.notify_all();
  state_->free_or_ended.notify_all();
  idle.swap(state_->idle);
  for (const auto id : state_->asked) { // they are there: nobody has waited for their end yet
    kill(-id, SIGKILL);
    kill(id, SIGKILL);
  }
}

std::string worker_pool::ask(const std::function<std::string(worker_process&)>& talk) {
  state::process mine;
  {
    std::unique_lock hold(state_->lock);
    state_->free_or_ended.wait(hold, [&] { return state_->busy < count_ || state_->stopping; });
    if (state_->stopping)
      throw state::closed();
    ++state_->busy;
    if (!state_->idle.empty()) {
      mine = std::move(state_->idle.back());
      state_->idle.pop_back();
    }
  }
  const auto give_back = [&](state::process healthy) {
    const std::lock_guard hold(state_->lock);
    if (healthy && !state_->stopping)
      state_->idle.push_back(std::move(healthy));
    --state_->busy;
    state_->free_or_ended.notify_one();
  };
  try {
    if (!mine)
      mine = state_->started(start_up_);
    std::string reply;
    {
      const state::waited_for its_reply(*state_, *mine);
      reply = talk(*mine);
    }
    give_back(std::move(mine));
    return reply;
  } catch (...) {
    mine.reset();
    give_back(nullptr);
    throw;
  }
}

} // namespace millrace::workers
