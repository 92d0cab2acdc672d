#include "runtime/schedule/ledger.hpp"

#include <utility>

namespace millrace::schedule {

namespace {

std::size_t at(group_state state) {
  return static_cast<std::size_t>(state);
}

template <std::size_t n>
ledger::account sum(const std::array<ledger::account, n>& accounts) {
  ledger::account result;
  for (const auto& one : accounts) {
    result.groups += one.groups;
    result.tokens += one.tokens;
  }
  return result;
}

} // namespace

std::string_view to_string(group_state state) {
  switch (state) {
  case group_state::queued:
    return "queued";
  case group_state::parked:
    return "parked";
  case group_state::generating:
    return "generating";
  case group_state::finished:
    return "finished";
  case group_state::ready:
    return "ready";
  case group_state::training:
    return "training";
  }
  return "unknown";
}

void ledger::admit() {
  ++totals_.admitted;
  ++totals_.live[at(group_state::generating)].groups;
}

void ledger::move(group_state from, group_state to, std::int64_t tokens) {
  auto& source = totals_.live[at(from)];
  auto& target = totals_.live[at(to)];
  --source.groups;
  source.tokens -= tokens;
  ++target.groups;
  target.tokens += tokens;
}

void ledger::generate(group_state in, std::int64_t tokens) {
  totals_.generated += tokens;
  totals_.live[at(in)].tokens += tokens;
}

void ledger::lose(group_state from, group_state to, std::int64_t tokens) {
  totals_.live[at(from)].tokens -= tokens;
  totals_.lost += tokens;
  move(from, to, 0);
}

void ledger::train(std::int64_t tokens) {
  auto& source = totals_.live[at(group_state::training)];
  --source.groups;
  source.tokens -= tokens;
  ++totals_.trained.groups;
  totals_.trained.tokens += tokens;
}

void ledger::spend(drop_reason reason, std::int64_t tokens) {
  totals_.generated += tokens;
  totals_.dropped[static_cast<std::size_t>(reason)].tokens += tokens;
}

void ledger::cut_off(group_state in, std::int64_t tokens) {
  totals_.live[at(in)].tokens -= tokens;
  totals_.dropped[static_cast<std::size_t>(drop_reason::surplus)].tokens += tokens;
}

void ledger::mask(std::int64_t tokens) {
  totals_.trained.tokens -= tokens;
  totals_.dropped[static_cast<std::size_t>(drop_reason::masked)].tokens += tokens;
}

void ledger::drop(group_state from, drop_reason reason, std::int64_t tokens) {
  auto& source = totals_.live[at(from)];
  auto& target = totals_.dropped[static_cast<std::size_t>(reason)];
  --source.groups;
  source.tokens -= tokens;
  ++target.groups;
  target.tokens += tokens;
}

void ledger::dispute(std::string sentence) {
  if (dispute_.empty())
    dispute_ = std::move(sentence);
}

ledger::account ledger::live() const {
  return sum(totals_.live);
}

ledger::account ledger::dropped() const {
  return sum(totals_.dropped);
}

std::string ledger::check() const {
  const auto held = live();
  const auto gone = dropped();
  const auto negative = [](const account& one) { return one.groups < 0 || one.tokens < 0; };
  for (std::size_t i = 0; i < group_states; ++i)
    if (negative(totals_.live[i]))
      return "negative count of groups or tokens " + std::string(to_string(static_cast<group_state>(i)));
  if (const auto groups = held.groups + totals_.trained.groups + gone.groups; groups != totals_.admitted)
    return "groups: " + std::to_string(totals_.admitted) + " admitted, but " + std::to_string(held.groups) + " live + "
           + std::to_string(totals_.trained.groups) + " trained + " + std::to_string(gone.groups) + " dropped";
  if (const auto tokens = held.tokens + totals_.trained.tokens + gone.tokens + totals_.lost;
      tokens != totals_.generated)
    return "tokens: " + std::to_string(totals_.generated) + " generated, but " + std::to_string(held.tokens)
           + " live + " + std::to_string(totals_.trained.tokens) + " trained + " + std::to_string(gone.tokens)
           + " dropped + " + std::to_string(totals_.lost) + " lost";
  return dispute_;
}

} // namespace millrace::schedule
