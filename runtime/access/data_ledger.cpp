#include "runtime/access/data_ledger.hpp"

#include <algorithm>
#include <utility>

namespace millrace::access {

bool data_ledger::meet(const worker_address& worker) {
  const std::lock_guard lock(mutex_);
  return workers_.try_emplace(worker.worker, worker.places).first->second == worker.places;
}

bool data_ledger::agrees(const worker_address& worker) const {
  const std::lock_guard lock(mutex_);
  const auto known = workers_.find(worker.worker);
  return known == workers_.end() || std::ranges::all_of(worker.places, [&](const tcp_place& at) {
           return std::ranges::find(known->second, at) != known->second.end();
         });
}

void data_ledger::told_endpoint(std::uint64_t endpoint, connection over, bool asks) {
  const std::lock_guard lock(mutex_);
  auto& told = endpoints_[endpoint];
  told.over = over;
  told.asks = told.asks || asks;
}

void data_ledger::told_offer(std::uint64_t request, std::uint64_t bytes, connection over) {
  const std::lock_guard lock(mutex_);
  offers_[request] = {bytes, over};
}

void data_ledger::told_demand(std::uint64_t request, std::uint64_t bytes, connection over) {
  const std::lock_guard lock(mutex_);
  demands_[request] = {.bytes = bytes, .came = 0, .over = over};
}

bool data_ledger::may_name(std::uint64_t endpoint, connection by) {
  const std::lock_guard lock(mutex_);
  const auto found = endpoints_.find(endpoint);
  if (found == endpoints_.end())
    return false;
  auto& holder = found->second.named_by;
  holder = holder == nullptr ? by : holder;
  return holder == by;
}

bool data_ledger::may_answer(std::uint64_t endpoint, connection by) {
  if (!may_name(endpoint, by))
    return false;
  const std::lock_guard lock(mutex_);
  return std::exchange(endpoints_.at(endpoint).asks, false);
}

std::optional<std::uint64_t> data_ledger::take_offer(std::uint64_t request, connection by) {
  const std::lock_guard lock(mutex_);
  const auto found = offers_.find(request);
  if (found == offers_.end() || !answers(by, found->second.over))
    return {};
  const auto bytes = found->second.bytes;
  offers_.erase(found);
  return bytes;
}

bool data_ledger::may_send(std::uint64_t request, std::uint64_t offset, std::uint64_t bytes, connection by) {
  const std::lock_guard lock(mutex_);
  const auto found = demands_.find(request);
  if (found == demands_.end() || !answers(by, found->second.over))
    return false;
  auto& demanded = found->second;
  if (offset > demanded.bytes || bytes > demanded.bytes - offset || bytes > demanded.bytes - demanded.came)
    return false;
  demanded.came += bytes;
  if (demanded.came == demanded.bytes)
    demands_.erase(found);
  return true;
}

void data_ledger::forget(connection gone) {
  const std::lock_guard lock(mutex_);
  std::erase_if(endpoints_, [&](const auto& at) { return at.second.over == gone || at.second.named_by == gone; });
  std::erase_if(offers_, [&](const auto& at) { return at.second.over == gone; });
  std::erase_if(demands_, [&](const auto& at) { return at.second.over == gone; });
}

bool data_ledger::answers(connection by, connection over) const {
  return by == over || std::ranges::any_of(endpoints_, [&](const auto& at) {
           return at.second.over == over && at.second.named_by == by;
         });
}

} // namespace millrace::access
