#include "actors/coordinator/coordinator_state.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/enum_words.hpp"

#include <algorithm>

/// Ranks: the processes of a role that train as one. The coordinator knows who lives, and carries what they tell each
/// other until they are connected.
namespace millrace::actors {
namespace {

/// Groups that fail in a row although every rank is up. After more of them the run ends.
constexpr int allowed_losses = 3;

/// How much later the coordinator may hear that a process is gone than others do.
constexpr std::chrono::seconds news_of_a_death{2};

} // namespace

void coordinator_state::each_rank(const std::string& role, const visit_role& visit) const {
  for (const auto& [name, up] : roles_)
    if (up.rank && up.who.role == role)
      visit(up);
}

/// A group of ranks never changes: whoever comes makes a new one.
void coordinator_state::form_ranks_if_all_up(const std::string& role) {
  std::int64_t up = 0;
  each_rank(role, [&](const role_ready&) { ++up; });
  if (up < config_.pipeline->processes_of(role) || ranks_[role].fetching > 0)
    return;
  const auto generation = ++ranks_[role].generation;
  each_rank(role, [&](const role_ready& rank) {
    tell(rank.rank, form_ranks{.generation = generation, .size = static_cast<std::uint32_t>(up)});
  });
}

void coordinator_state::part_ranks_of(const role_ready& gone, const std::string& how) {
  // What nobody else has is no longer that of the checkpoint.
  if (const auto shard = config_.pipeline->shard_of(gone.who.role); has_trained_ && shard != sharding::none)
    return lose(gone.who, how,
                "its share of the " + std::string(shard == sharding::full ? "parameters" : "optimizer's moments")
                    + " (placement." + gone.who.role + ".shard = \"" + word(shard) + "\")");
  const auto generation = ranks_[gone.who.role].generation;
  each_rank(gone.who.role, [&](const role_ready& rank) {
    tell(rank.rank, part_ranks{.generation = generation, .why = gone.who.name() + " is gone (" + how + ")"});
  });
  if (ranks_share_groups_ && gone.who.role == leader_role_)
    fetch_kept_groups_of(gone.who, how);
}

/// The other ranks and this book forget a group that is trained or void.
void coordinator_state::forget_in_ranks(group_id group) {
  if (kept_.erase(group) > 0)
    each_rank(leader_role_, [&](const role_ready& rank) {
      if (rank.keeper)
        tell(rank.keeper, forget_group{group});
    });
}

const role_ready* coordinator_state::rank_of_leader(std::uint32_t index) const {
  const role_ready* found = nullptr;
  each_rank(leader_role_, [&](const role_ready& rank) { found = rank.who.index == index ? &rank : found; });
  return found;
}

/// The rank that keeps the fewest tokens of those that are up, of several the one with the fewest groups, and then the
/// first.
std::uint32_t coordinator_state::least_laden_rank() const {
  std::map<std::uint32_t, std::pair<std::int64_t, int>> loads; // tokens and groups
  each_rank(leader_role_, [&](const role_ready& rank) { loads[rank.who.index] = {}; });
  for (const auto& [group, kept] : kept_)
    if (const auto rank = loads.find(kept.rank); rank != loads.end()) {
      rank->second.first += kept.tokens;
      ++rank->second.second;
    }
  const auto least = std::ranges::min_element(loads, {}, [](const auto& rank) { return rank.second; });
  return least == loads.end() ? 0 : least->first;
}

/// The first rank pulls them from their makers, who still have them. Until then no group of ranks is formed.
void coordinator_state::fetch_kept_groups_of(const role_instance& gone, const std::string& how) {
  const auto* first = leader();
  if (!first)
    return;
  for (auto& [group, kept] : kept_) {
    if (kept.rank != gone.index)
      continue;
    kept.rank = 0;
    if (fetches_.contains({group, kept.what.attempt})) { // the group is not ready yet
      ask_to_fetch(*first, kept.what);
      continue;
    }
    ++ranks_[gone.role].fetching;
    const auto one_less = [this, role = gone.role] {
      if (--ranks_[role].fetching == 0)
        form_ranks_if_all_up(role);
    };
    self_.ask(
        first->trainer, kept.what, request_deadline(), [one_less](const group_fetched&) { one_less(); },
        [this, gone, how, one_less, id = group](const refusal& why) {
          if (!kept_.contains(id)) // dropped meanwhile
            return one_less();
          complain(gone.name() + " kept a group that cannot be pulled again: " + why.line);
          lose(gone, how, "a group that it kept");
        });
  }
}

void coordinator_state::pass_on(const rank_word& word) {
  each_rank(word.from.role, [&](const role_ready& rank) {
    if (rank.who.index != word.from.index)
      tell(rank.rank, word);
  });
}

/// If a process has died, its end is on the way, and the ranks form a group again when it is back.
void coordinator_state::ranks_are_lost(const ranks_lost& what) {
  auto& ranks = ranks_[what.from.role];
  if (ended_ || ranks.generation != what.generation)
    return;
  const auto line = what.from.name() + " has lost the other ranks: " + what.why;
  if (++ranks.losses > allowed_losses)
    return fail(line + ", " + std::to_string(ranks.losses) + " times in a row");
  telemetry::log_warning("run", line + "; they connect again");
  form_ranks_if_all_up(what.from.role);
}

/// Who needs a process that has died may say so before its end is known here, which says more: the connection to it is
/// lost, its weights cannot be pulled, a rank cannot go on without it.
void coordinator_state::after_news_of_deaths(const std::function<void()>& act) {
  if (processes_.size() < 2)
    return act(); // all that others can have died of is known
  self_.after(news_of_a_death, [this, act] {
    if (!ended_)
      act();
  });
}

void coordinator_state::ranks_have_worked() {
  for (auto& [role, ranks] : ranks_) {
    ranks.losses = 0;
    each_rank(role, [&](const role_ready& rank) { restarts_.worked(rank.who.name()); });
  }
}

} // namespace millrace::actors
