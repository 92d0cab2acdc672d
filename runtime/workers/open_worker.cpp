#include "runtime/workers/open_worker.hpp"

#include "runtime/words/no_signals.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace millrace::workers {
namespace {

using time_point = worker_process::time_point;
using steady = std::chrono::steady_clock;

constexpr std::chrono::hours nothing_open{24};

} // namespace

/// One thread starts the process, which dies with it, and does all that is said to it.
struct open_worker::state {
  struct open_question {
    time_point until;
    answered done;
  };

  struct outgoing {
    std::uint64_t id = 0; ///< 0: nobody answers
    std::string text;
    std::chrono::milliseconds deadline{0};
    answered done;
  };

  worker_command command;
  greeting greet;
  reader read;
  std::chrono::milliseconds start_up;
  std::function<void()> gone;
  int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

  std::mutex lock;
  std::deque<outgoing> queue; ///< not yet taken by the thread
  std::vector<std::promise<std::string>> starts;
  bool stopping = false;
  std::uint64_t next_id = 1;

  std::optional<worker_process> process; ///< the thread's own from here on
  std::map<std::uint64_t, open_question> open;
  std::thread thread;

  ~state() { close(wake); }

  void rouse() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = write(wake, &one, sizeof one);
  }

  void run();
  bool wait_for_work();
  void begin(); ///< the process @throws worker_failure
  std::vector<outgoing> taken(std::vector<std::promise<std::string>>& asked_to_start);
  void say(std::vector<outgoing>& messages); ///< @throws worker_failure
  bool has_news();                           ///< somebody said something, or wants the end
  void hear();                               ///< @throws worker_failure
  void fail(const std::string& why, std::vector<outgoing> unsent);
};

void open_worker::state::begin() {
  if (process)
    return;
  process.emplace(command);
  if (!greet)
    return;
  const auto until = steady::now() + start_up;
  std::optional<std::string> message;
  while (!(message = process->receive_or_wake(until, wake))) {
    std::uint64_t roused = 0; // what it was roused for stands in the queue
    [[maybe_unused]] const auto count = ::read(wake, &roused, sizeof roused);
    const std::lock_guard hold(lock);
    if (stopping)
      throw worker_failure(failure_kind::refused, "its process was ended");
  }
  if (const auto why = greet(*message); !why.empty())
    throw worker_failure(failure_kind::refused, why);
}

bool open_worker::state::has_news() {
  const std::lock_guard hold(lock);
  return stopping || !queue.empty() || !starts.empty();
}

std::vector<open_worker::state::outgoing>
open_worker::state::taken(std::vector<std::promise<std::string>>& asked_to_start) {
  const std::lock_guard hold(lock);
  std::uint64_t roused = 0;
  [[maybe_unused]] const auto count = ::read(wake, &roused, sizeof roused);
  asked_to_start = std::exchange(starts, {});
  std::vector<outgoing> messages(std::make_move_iterator(queue.begin()), std::make_move_iterator(queue.end()));
  queue.clear();
  return messages;
}

void open_worker::state::say(std::vector<outgoing>& messages) {
  for (auto& message : messages) {
    const auto until = steady::now() + std::max(message.deadline, std::chrono::milliseconds(1000));
    if (message.id != 0)
      open[message.id] = {.until = steady::now() + message.deadline, .done = std::exchange(message.done, nullptr)};
    process->send(message.text, until);
  }
}

void open_worker::state::hear() {
  auto until = steady::now() + nothing_open;
  for (const auto& [id, question] : open)
    until = std::min(until, question.until);
  const auto message = process->receive_or_wake(until, wake);
  if (!message)
    return;
  const auto found = open.find(read(*message));
  if (found == open.end())
    throw worker_failure(failure_kind::malformed, "an answer to a question that is not open");
  const auto done = std::move(found->second.done);
  open.erase(found);
  done(*message, {});
}

void open_worker::state::fail(const std::string& why, std::vector<outgoing> unsent) {
  process.reset();
  auto lost = std::exchange(open, {});
  gone();
  for (auto& [id, question] : lost)
    question.done({}, why);
  for (auto& message : unsent)
    if (message.done)
      message.done({}, why);
}

/// Without a process there is nothing to hear, so the thread waits for something to say.
bool open_worker::state::wait_for_work() {
  if (!process && !has_news()) {
    pollfd roused{wake, POLLIN, 0};
    poll(&roused, 1, -1);
  }
  const std::lock_guard hold(lock);
  return !stopping;
}

void open_worker::state::run() {
  while (wait_for_work()) {
    std::vector<std::promise<std::string>> asked_to_start;
    auto messages = taken(asked_to_start);
    std::string why;
    try {
      if (process || !asked_to_start.empty()
          || std::any_of(messages.begin(), messages.end(), [](const outgoing& m) { return m.id != 0; })) {
        begin();
        say(messages);
        for (auto& asked : std::exchange(asked_to_start, {}))
          asked.set_value("");
        if (!has_news())
          hear();
      }
    } catch (const worker_failure& failure) {
      why = failure.what();
    }
    if (why.empty())
      continue;
    fail(why, std::move(messages));
    for (auto& asked : asked_to_start)
      asked.set_value(why);
  }
  process.reset();
}

open_worker::open_worker(worker_command command, greeting greet, reader read, std::chrono::milliseconds start_up,
                         std::function<void()> gone)
    : state_(std::make_unique<state>()) {
  state_->command = std::move(command);
  state_->greet = std::move(greet);
  state_->read = std::move(read);
  state_->start_up = start_up;
  state_->gone = std::move(gone);
  const no_signals here;
  state_->thread = std::thread([this] { state_->run(); });
}

open_worker::~open_worker() {
  {
    const std::lock_guard hold(state_->lock);
    state_->stopping = true;
  }
  state_->rouse();
  state_->thread.join();
}

void open_worker::ask(question what, std::chrono::milliseconds deadline, answered done) {
  {
    const std::lock_guard hold(state_->lock);
    const auto id = state_->next_id++;
    state_->queue.push_back({.id = id, .text = what(id), .deadline = deadline, .done = std::move(done)});
  }
  state_->rouse();
}

void open_worker::tell(std::string message) {
  {
    const std::lock_guard hold(state_->lock);
    state_->queue.push_back({.text = std::move(message)});
  }
  state_->rouse();
}

std::string open_worker::start() {
  std::future<std::string> up;
  {
    const std::lock_guard hold(state_->lock);
    up = state_->starts.emplace_back().get_future();
  }
  state_->rouse();
  return up.get();
}

} // namespace millrace::workers
