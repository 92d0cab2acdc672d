#include "runtime/endpoint/client_requests.hpp"

#include <algorithm>
#include <exception>
#include <utility>

namespace millrace::endpoint {

std::uint64_t client_requests::begin(rollout::group_request request, listener tells) {
  std::string closed;
  std::uint64_t group = 0;
  {
    const std::scoped_lock hold(mutex_, telling_);
    if (without_token() >= limits_.waiting)
      return 0;
    group = request.group = next_++;
    request.first = limits_.before_others;
    closed = closed_;
    if (closed.empty()) {
      clients_.emplace(group, client{std::move(tells), std::vector<bool>(static_cast<std::size_t>(request.answers))});
      orders_.push_back(std::move(request));
    }
  }
  if (closed.empty())
    arrived_();
  else
    tells({.failure = closed, .status = 503});
  return group;
}

void client_requests::cancel(std::uint64_t group) {
  forget(group);
  {
    const std::lock_guard hold(mutex_);
    if (std::erase_if(orders_, [&](const auto& order) { return order.group == group; }) > 0)
      return;
    cancelled_.push_back(group);
  }
  arrived_();
}

void client_requests::close(const std::string& why) {
  const std::scoped_lock hold(mutex_, telling_);
  closed_ = why;
  for (const auto& [group, one] : std::exchange(clients_, {})) {
    one.tells({.failure = why, .status = 503});
    cancelled_.push_back(group);
  }
  orders_.clear();
}

std::size_t client_requests::under_way() const {
  const std::lock_guard hold(telling_);
  return clients_.size();
}

std::size_t client_requests::waiting() const {
  const std::lock_guard hold(telling_);
  return without_token();
}

std::size_t client_requests::without_token() const {
  std::size_t count = 0;
  for (const auto& [group, one] : clients_)
    count += static_cast<std::size_t>(std::ranges::count(one.begun, false));
  return count;
}

bool client_requests::has_new() const {
  const std::lock_guard hold(mutex_);
  return !cancelled_.empty() || (!orders_.empty() && room_);
}

bool client_requests::fits(const rollout::group_request& order) const {
  std::int64_t there = 0;
  for (const auto& [group, answers] : running_)
    there += answers;
  return limits_.answers == 0 || there == 0 || there + order.answers <= limits_.answers;
}

void client_requests::hand_over(rollout::engine& to) {
  std::vector<std::uint64_t> cancelled;
  {
    const std::lock_guard hold(mutex_);
    cancelled.swap(cancelled_);
  }
  for (const auto group : cancelled)
    if (to.cancel(group))
      running_.erase(group);
  while (true) {
    rollout::group_request order;
    {
      const std::lock_guard hold(mutex_);
      room_ = orders_.empty() || fits(orders_.front());
      if (orders_.empty() || !room_)
        return;
      order = std::move(orders_.front());
      orders_.pop_front();
    }
    admit(to, std::move(order));
  }
}

void client_requests::admit(rollout::engine& to, rollout::group_request order) {
  const auto group = order.group;
  const auto answers = order.answers;
  try {
    to.admit(std::move(order));
    running_.emplace(group, answers);
  } catch (const std::exception& refused) {
    tell(group, {.failure = refused.what()});
    forget(group);
  }
}

void client_requests::tell(std::uint64_t group, const news& what) {
  const std::lock_guard hold(telling_);
  if (const auto found = clients_.find(group); found != clients_.end()) {
    for (const auto& token : what.tokens)
      found->second.begun[static_cast<std::size_t>(token.answer)] = true;
    found->second.tells(what);
  }
}

void client_requests::forget(std::uint64_t group) {
  const std::lock_guard hold(telling_);
  clients_.erase(group);
}

std::int64_t client_requests::tell_of_step(const rollout::engine& engine,
                                           std::span<const rollout::finished_group> finished) {
  if (running_.empty())
    return 0;
  std::int64_t tokens = 0;
  std::map<std::uint64_t, news> all;
  for (const auto& token : engine.last_tokens())
    if (is_one(token.group)) {
      all[token.group].tokens.push_back(token);
      ++tokens;
    }
  for (const auto& [group, what] : all)
    tell(group, what);
  for (const auto& group : finished)
    if (running_.erase(group.group) > 0)
      forget(group.group);
  const std::lock_guard hold(mutex_);
  room_ = orders_.empty() || fits(orders_.front());
  return tokens;
}

} // namespace millrace::endpoint
