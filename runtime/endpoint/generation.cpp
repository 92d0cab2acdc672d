#include "runtime/endpoint/generation.hpp"

#include "runtime/words/no_signals.hpp"

#include <pthread.h>

#include <utility>

namespace millrace::endpoint {

generation::generation(rollout::engine engine, std::size_t waiting)
    : engine_(std::move(engine)), clients_({.waiting = waiting}, [this] {
        { const std::lock_guard hold(mutex_); } // between the loop's look and its wait nothing may come
        arrived_.notify_all();
      }) {
  const no_signals quiet;
  thread_ = std::thread([this] { run(); });
}

generation::~generation() {
  {
    const std::lock_guard hold(mutex_);
    ends_ = true;
  }
  arrived_.notify_all();
  thread_.join();
}

void generation::run() {
  pthread_setname_np(pthread_self(), "generation");
  while (wait_for_work()) {
    clients_.hand_over(engine_);
    clients_.tell_of_step(engine_, engine_.step());
  }
}

bool generation::wait_for_work() {
  std::unique_lock hold(mutex_);
  arrived_.wait(hold, [this] { return ends_ || clients_.has_new() || !engine_.idle(); });
  return !ends_;
}

} // namespace millrace::endpoint
