#include "runtime/schedule/scheduler.hpp"

namespace millrace::schedule {

std::string scheduler::audit() const {
  if (auto wrong = ledger_.check(); !wrong.empty())
    return wrong;
  std::array<ledger::account, group_states> live{};
  std::string wrong;
  std::size_t targets = 0;
  groups_.each([&](group_id id, const group& one) {
    auto& account = live[static_cast<std::size_t>(one.state)];
    ++account.groups;
    account.tokens += one.tokens;
    const auto say = [&](const std::string& sentence) {
      if (wrong.empty())
        wrong = "group " + std::to_string(id) + sentence;
    };
    if (id >= static_cast<std::uint64_t>(ledger_.sums().admitted))
      say(" was never admitted");
    if ((one.state == group_state::queued) != queued_.contains(id))
      say(" is " + std::string(to_string(one.state)) + ", the queue says otherwise");
    if ((one.state == group_state::parked) != parked_.contains(id))
      say(" is " + std::string(to_string(one.state)) + ", the long-round queue says otherwise");
    if (one.interrupted && one.state != group_state::generating)
      say(" is to be handed over, but does not generate");
    const auto target = target_of(id);
    targets += target && workers_.contains(*target);
    if (one.state == group_state::generating) {
      const auto where = workers_.find(one.worker);
      if (where == workers_.end() || one.place >= where->second.running.size() || where->second.running[one.place] != id)
        say(" generates on a worker that does not know it");
    }
  });
  if (!wrong.empty())
    return wrong;
  for (std::size_t i = 0; i < group_states; ++i)
    if (live[i] != ledger_.sums().live[i])
      return "the ledger miscounts groups or tokens " + std::string(to_string(static_cast<group_state>(i)));
  const auto batched = static_cast<std::size_t>(live[static_cast<std::size_t>(group_state::training)].groups);
  if (batched != (training_ ? training_->groups.size() : 0))
    return "groups in training differ from the batch";
  const auto held_by_rule = groups_.size() - batched - parked_.size();
  if (rule_.live() != held_by_rule)
    return "the batch rule holds " + std::to_string(rule_.live()) + " groups, want " + std::to_string(held_by_rule);
  if (static_cast<std::int64_t>(rule_.ready()) != live[static_cast<std::size_t>(group_state::ready)].groups)
    return "the batch rule miscounts the ready groups";
  std::size_t running = 0;
  std::size_t reserved = 0;
  std::uint32_t flipping = 0, late = 0;
  std::map<version_id, std::uint32_t> held;
  for (const auto& [id, one] : workers_) {
    running += one.running.size();
    reserved += one.reserved;
    flipping += one.in_turn;
    late += one.late;
    if (one.in_turn && !one.flipping())
      return one.name + " has a turn to take weights, and was sent none";
    if (one.late && !one.flipping())
      return one.name + " is late with weights that it runs";
    if (one.running.size() + one.reserved > one.capacity)
      return one.name + " runs more groups than it has places";
    if (one.member)
      ++held[*one.holds];
    if (one.offered != (may_take(one) ? one.capacity - one.running.size() - one.reserved : 0))
      return one.name + " has other free places than it offers";
    if ((one.offered > 0) != free_.contains({-std::int64_t{one.offered}, id}))
      return one.name + " is missing among the free or listed twice";
    const auto reached = std::max(one.holds.value_or(0), one.sent.value_or(0));
    if (((!one.holds && !one.sent) || reached < published_) != outdated_.contains(id))
      return one.name + " is wrongly marked as up to date";
  }
  if (static_cast<std::int64_t>(running) != live[static_cast<std::size_t>(group_state::generating)].groups)
    return "workers run another number of groups than are generating";
  if (reserved != targets || flipping != flipping_ || late != late_)
    return "places on their way to be taken, or workers that flip or are late, are miscounted";
  if (held != held_)
    return "members by version are miscounted";
  if (version_ > step_)
    return "a version is in use that was never trained";
  return {};
}

} // namespace millrace::schedule
