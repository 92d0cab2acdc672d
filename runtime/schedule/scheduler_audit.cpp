#include "runtime/schedule/scheduler.hpp"

namespace millrace::schedule {

/// What `audit` counts on its way through the groups and the workers.
struct scheduler::recount {
  std::array<ledger::account, group_states> live{};
  std::size_t targets = 0;                     ///< groups that are on their way to a worker that is there
  std::int64_t running = 0;                    ///< groups in the workers' lists
  std::size_t reserved = 0;                    ///< places that workers keep for groups on their way
  std::uint32_t flipping = 0, late = 0;        ///< workers
  std::map<version_id, std::uint32_t> members; ///< by the version they hold
};

std::string scheduler::audit() const {
  if (auto wrong = ledger_.check(); !wrong.empty())
    return wrong;
  recount counted;
  for (const auto check : {&scheduler::audit_groups, &scheduler::audit_books, &scheduler::audit_workers})
    if (auto wrong = (this->*check)(counted); !wrong.empty())
      return wrong;
  if (counted.running != counted.live[static_cast<std::size_t>(group_state::generating)].groups)
    return "workers run another number of groups than are generating";
  if (counted.reserved != counted.targets || counted.flipping != turns_ || counted.late != late_)
    return "places on their way to be taken, or workers that flip or are late, are miscounted";
  if (counted.members != held_)
    return "members by version are miscounted";
  if (version_ > step_)
    return "a version is in use that was never trained";
  return {};
}

std::string scheduler::audit_groups(recount& counted) const {
  std::string wrong;
  groups_.each([&](group_id id, const group& one) {
    auto& account = counted.live[static_cast<std::size_t>(one.state)];
    ++account.groups;
    account.tokens += one.tokens;
    const auto target = target_of(id);
    counted.targets += target && workers_.contains(*target);
    if (wrong.empty())
      wrong = audit_group(id, one);
  });
  return wrong;
}

std::string scheduler::audit_group(group_id id, const group& one) const {
  const auto says = [&](const std::string& sentence) { return "group " + std::to_string(id) + sentence; };
  if (id >= static_cast<std::uint64_t>(ledger_.sums().admitted))
    return says(" was never admitted");
  if ((one.state == group_state::queued) != queued_.contains(id))
    return says(" is " + std::string(to_string(one.state)) + ", the queue says otherwise");
  if ((one.state == group_state::parked) != parked_.contains(id))
    return says(" is " + std::string(to_string(one.state)) + ", the long-round queue says otherwise");
  if (one.interrupted && one.state != group_state::generating)
    return says(" is to be handed over, but does not generate");
  if (one.state != group_state::generating)
    return {};
  const auto where = workers_.find(one.worker);
  if (where == workers_.end() || one.place >= where->second.running.size() || where->second.running[one.place] != id)
    return says(" generates on a worker that does not know it");
  return {};
}

std::string scheduler::audit_books(recount& counted) const {
  const auto groups_in = [&](group_state state) { return counted.live[static_cast<std::size_t>(state)].groups; };
  for (std::size_t i = 0; i < group_states; ++i)
    if (counted.live[i] != ledger_.sums().live[i])
      return "the ledger miscounts groups or tokens " + std::string(to_string(static_cast<group_state>(i)));
  const auto batched = static_cast<std::size_t>(groups_in(group_state::training));
  if (batched != (training_ ? training_->groups.size() : 0))
    return "groups in training differ from the batch";
  const auto held_by_rule = groups_.size() - batched - parked_.size();
  if (rule_.live() != held_by_rule)
    return "the batch rule holds " + std::to_string(rule_.live()) + " groups, want " + std::to_string(held_by_rule);
  if (static_cast<std::int64_t>(rule_.ready()) != groups_in(group_state::ready))
    return "the batch rule miscounts the ready groups";
  return {};
}

std::string scheduler::audit_workers(recount& counted) const {
  for (const auto& [id, one] : workers_) {
    counted.running += static_cast<std::int64_t>(one.running.size());
    counted.reserved += one.reserved;
    counted.flipping += one.has_turn;
    counted.late += one.late;
    if (one.member)
      ++counted.members[*one.holds];
    if (auto wrong = audit_worker(id, one); !wrong.empty())
      return wrong;
  }
  return {};
}

std::string scheduler::audit_worker(worker_id id, const worker& one) const {
  if (one.has_turn && !one.flipping())
    return one.name + " has a turn to take weights, and was sent none";
  if (one.late && !one.flipping())
    return one.name + " is late with weights that it runs";
  if (one.running.size() + one.reserved > one.capacity)
    return one.name + " runs more groups than it has places";
  if (one.offered != (may_take(one) ? one.capacity - one.running.size() - one.reserved : 0))
    return one.name + " has other free places than it offers";
  if ((one.offered > 0) != free_.contains({-std::int64_t{one.offered}, id}))
    return one.name + " is missing among the free or listed twice";
  const auto reached = std::max(one.holds.value_or(0), one.sent.value_or(0));
  if (((!one.holds && !one.sent) || reached < published_) != outdated_.contains(id))
    return one.name + " is wrongly marked as up to date";
  return {};
}

} // namespace millrace::schedule
