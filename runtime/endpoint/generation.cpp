#include "runtime/endpoint/generation.hpp"

#include "runtime/words/no_signals.hpp"

#include <pthread.h>

#include <exception>
#include <utility>

namespace millrace::endpoint {

generation::generation(rollout::engine engine, std::size_t waiting) : engine_(std::move(engine)), waiting_(waiting) {
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

std::uint64_t generation::begin(rollout::group_request request, listener tells) {
  const std::lock_guard hold(mutex_);
  if (orders_.size() + waiting() >= waiting_)
    return 0;
  request.group = ++last_;
  {
    const std::lock_guard hold_listeners(telling_);
    listeners_.emplace(last_, std::move(tells));
  }
  orders_.push_back(std::move(request));
  arrived_.notify_all();
  return last_;
}

void generation::cancel(std::uint64_t group) {
  forget(group);
  const std::lock_guard hold(mutex_);
  orders_.push_back({.group = group, .answers = 0});
  arrived_.notify_all();
}

std::size_t generation::under_way() const {
  const std::lock_guard hold(telling_);
  return listeners_.size();
}

std::size_t generation::waiting() const {
  return static_cast<std::size_t>(without_slot_);
}

void generation::run() {
  pthread_setname_np(pthread_self(), "generation");
  while (take_orders()) {
    const auto finished = engine_.step();
    without_slot_ = engine_.waiting_answers();
    tell_of_step(finished);
  }
}

/// Waits while there is nothing to do. @returns false at the end
bool generation::take_orders() {
  std::deque<rollout::group_request> orders;
  {
    std::unique_lock hold(mutex_);
    arrived_.wait(hold, [this] { return ends_ || !orders_.empty() || !engine_.idle(); });
    if (ends_)
      return false;
    orders.swap(orders_);
  }
  for (auto& one : orders)
    take(std::move(one));
  return true;
}

void generation::take(rollout::group_request order) {
  const auto group = order.group;
  if (order.answers == 0) {
    engine_.cancel(group);
    return;
  }
  try {
    engine_.admit(std::move(order));
  } catch (const std::exception& refused) {
    tell(group, {.tokens = {}, .failure = refused.what()});
    forget(group);
  }
}

void generation::tell(std::uint64_t group, const news& what) {
  const std::lock_guard hold(telling_);
  if (const auto found = listeners_.find(group); found != listeners_.end())
    found->second(what);
}

void generation::forget(std::uint64_t group) {
  const std::lock_guard hold(telling_);
  listeners_.erase(group);
}

void generation::tell_of_step(const std::vector<rollout::finished_group>& finished) {
  std::map<std::uint64_t, news> all;
  for (const auto& token : engine_.last_tokens())
    all[token.group].tokens.push_back(token);
  for (const auto& [group, what] : all)
    tell(group, what);
  for (const auto& group : finished)
    forget(group.group);
}

} // namespace millrace::endpoint
