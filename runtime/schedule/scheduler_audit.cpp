#include "runtime/schedule/scheduler.hpp"

namespace millrace::schedule {

std::string scheduler::audit() const {
  if (auto wrong = ledger_.check(); !wrong.empty())
    return wrong;
  std::array<ledger::account, group_states> live{};
  for (const auto& [id, one] : groups_) {
    auto& account = live[static_cast<std::size_t>(one.state)];
    ++account.groups;
    account.tokens += one.tokens;
    const auto name = "group " + std::to_string(id);
    if (id >= static_cast<std::uint64_t>(ledger_.sums().admitted))
      return name + " was never admitted";
    if ((one.state == group_state::queued) != queued_.contains(id))
      return name + " is " + std::string(to_string(one.state)) + ", the queue says otherwise";
    if (one.state == group_state::generating) {
      const auto where = workers_.find(one.worker);
      if (where == workers_.end() || !where->second.running.contains(id))
        return name + " generates on a worker that does not know it";
    }
  }
  for (std::size_t i = 0; i < group_states; ++i)
    if (live[i] != ledger_.sums().live[i])
      return "the ledger miscounts groups or tokens " + std::string(to_string(static_cast<group_state>(i)));
  const auto batched = static_cast<std::size_t>(live[static_cast<std::size_t>(group_state::training)].groups);
  if (batched != (training_ ? training_->groups.size() : 0))
    return "groups in training differ from the batch";
  if (rule_.live() + batched != groups_.size())
    return "the batch rule holds " + std::to_string(rule_.live()) + " groups, want " + std::to_string(groups_.size() - batched);
  if (static_cast<std::int64_t>(rule_.ready()) != live[static_cast<std::size_t>(group_state::ready)].groups)
    return "the batch rule miscounts the ready groups";
  std::size_t running = 0;
  std::map<version_id, std::uint32_t> held;
  for (const auto& [id, one] : workers_) {
    running += one.running.size();
    if (one.running.size() > one.capacity)
      return one.name + " runs more groups than it has places";
    if (one.member)
      ++held[*one.holds];
    const bool may = one.member && (config_.in_flight_update || !one.flipping());
    if (one.offered != (may ? one.capacity - one.running.size() : 0))
      return one.name + " has other free places than it offers";
    if ((one.offered > 0) != free_.contains({-std::int64_t{one.offered}, id}))
      return one.name + " is missing among the free or listed twice";
    const auto reached = std::max(one.holds.value_or(0), one.sent.value_or(0));
    if (((!one.holds && !one.sent) || reached < step_) != outdated_.contains(id))
      return one.name + " is wrongly marked as up to date";
  }
  if (static_cast<std::int64_t>(running) != live[static_cast<std::size_t>(group_state::generating)].groups)
    return "workers run another number of groups than are generating";
  if (held != held_)
    return "members by version are miscounted";
  if (version_ > step_)
    return "a version is in use that was never trained";
  return {};
}

} // namespace millrace::schedule
