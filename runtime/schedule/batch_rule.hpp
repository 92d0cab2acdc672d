#pragma once

#include "runtime/schedule/by_id.hpp"
#include "runtime/schedule/config.hpp"
#include "runtime/schedule/event.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace millrace::schedule {

/// Decides which ready groups make the next batch. It holds every live group that is not in a batch.
///
/// A group's `age_from` is the version that its age is counted from: that of its worker while it generates, the one
/// that `stale.measure` says once it is ready.
///
/// Under `in_order` a batch is the lowest live ids, as soon as all of them are ready. Under every other order it is the
/// ready groups that the order prefers, after those that the bound forces in.
///
/// The bound under `wait` works like a timetable: every group has a last update that may train it, and a batch is cut
/// only if all groups that stay behind can still catch theirs. That is, for every version w,
///
///     #{left behind with age_from <= w}  <=  groups that later updates train, up to the last one that may train w
///
/// (`age_limit`; with `clock.unit` step these are B for each step up to w + stale.max, and the rest of this one). So a
/// batch can be formed at every later update. Groups that start after the cut cannot break that while depth <=
/// stale.max, because then all live groups fit before their last update. The most urgent ready groups are taken first,
/// as many as the inequality needs. Source: earliest-deadline-first feasibility, Liu and Layland 1973.
///
/// With `select.on_policy_min` an update waits for its share of groups whose `age_from` is its own step, as long as
/// `request::fresh` says that there are such groups to come, and takes them first.
class batch_rule {
public:
  /// How far a group is that runs or has run on a worker.
  enum class started : std::uint8_t { waits_for_columns, is_ready };

  explicit batch_rule(const config& wanted);

  /// The group became live, or is again, without a worker and without tokens.
  void queue(group_id group);
  /// A queued group runs on a worker of version `age_from`.
  void start(group_id group, version_id age_from);
  /// A started group has all its columns.
  void ready(group_id group, version_id born, version_id age_from, std::int64_t tokens);
  /// A started group left its worker, or its tensors are gone.
  void requeue(group_id group, version_id age_from, started it);
  /// A queued group is over.
  void leave_queued(group_id group);
  /// A started group is over.
  void leave(group_id group, version_id age_from, started it);

  /// An update to be cut.
  struct request {
    std::uint32_t step = 0;
    std::uint32_t part = 0;  ///< which update of the step
    std::size_t size = 0;    ///< n, >= 1
    bool last = false;       ///< no group will ever be added: fewer than n are enough once all are ready
    std::int64_t tokens = 0; ///< not 0: ready groups with so many are enough, and it takes no more than have them. Not
                             ///< for `in_order`, `length_bucket`
    bool fresh = false;      ///< groups may still be started under version `step`
    group_id below = 0;      ///< not 0: the batch is what is live of the ids below this one (`lost_group` shrink)
  };

  /// The groups of an update, ascending, taken out; nothing while it has to wait.
  std::optional<std::vector<group_id>> cut(const request& wanted);
  /// Whether `cut` would give some.
  bool able(const request& wanted) const;
  /// A group of an update that was given up: ready again.
  void give_back(group_id group, version_id age_from, std::int64_t tokens);
  /// Ready groups older than `oldest`, in ascending order of age_from, then id. Not for `in_order`.
  std::vector<group_id> overdue(version_id oldest) const;

  std::size_t live() const { return waiting_ + ready_; }

  std::size_t ready() const { return ready_; }

  std::int64_t ready_tokens() const { return ready_tokens_; } ///< not kept under `in_order`

  /// Groups of staleness 0 that the update waits for; 0: they are there, or none is wanted.
  std::size_t missing_fresh(const request& wanted) const;
  /// Groups that `wait` asks for though `wanted.size` are ready; 0 when it is not the bound that stands in the way.
  std::size_t missing_for_bound(const request& wanted) const;

private:
  struct entry {
    std::uint64_t rank = 0; ///< lower is preferred
    group_id id = 0;
    std::int64_t tokens = 0;
  };

  /// Started groups of one `age_from` that are not in a batch.
  struct cohort {
    std::int64_t live = 0;
    std::vector<entry> ready; ///< a heap, the preferred one first
  };
  enum class mark : std::uint8_t { waiting, ready };

  static bool worse(const entry& a, const entry& b) { return a.rank != b.rank ? a.rank > b.rank : a.id > b.id; }

  cohort& of(version_id age_from) { return cohorts_[age_from - first_age_]; }

  const cohort& of(version_id age_from) const { return cohorts_[age_from - first_age_]; }

  cohort& reach(version_id age_from); ///< `of`, made if there is none
  void enter(version_id age_from);
  void depart(version_id age_from, std::size_t count = 1);
  void note_ready(version_id age_from);   ///< before its first ready group
  void forget_ready(version_id age_from); ///< after its last one left
  void push_ready(group_id group, version_id age_from, std::int64_t tokens);
  void erase_ready(group_id group, version_id age_from);
  void mark_waiting(group_id group);
  void mark_ready(group_id group);
  void clear_mark(group_id group);
  void look_on_from(group_id group); ///< for the first waiting id
  std::vector<group_id> cut_in_order(const request& wanted);
  /// Whether the bound lets the update be cut. `from`: gets how many groups the cohort of each `ages_[i]` has to give,
  /// to the last that has to; `short_of`: groups in excess at the first deadline that would be missed.
  bool feasible(const request& wanted, std::vector<std::size_t>* from, std::size_t* short_of) const;
  std::size_t fresh_wanted(const request& wanted) const;
  void pop(version_id age_from, std::size_t count, std::vector<group_id>& groups);
  void take_preferred(std::size_t count, std::int64_t tokens, std::vector<group_id>& groups);
  void take_first_come(std::size_t count, std::int64_t tokens, std::vector<group_id>& groups);
  void take_alike(std::size_t count, std::vector<group_id>& groups);

  config set_;
  bool waits_;
  std::deque<cohort> cohorts_; ///< by age_from - first_age_, the first one has live groups; kept unless `in_order`
  version_id first_age_ = 0;
  std::vector<version_id> ages_;  ///< of cohorts with a ready group, ascending
  std::int64_t started_ = 0;      ///< groups in cohorts
  std::int64_t ready_tokens_ = 0; ///< kept unless `in_order`
  by_id<mark> marks_;             ///< kept under `in_order`
  group_id first_waiting_ = 0;    ///< lowest waiting id, marks_.end() where there is none; kept under `in_order`
  std::size_t leading_ready_ = 0; ///< ready ids below it; kept under `in_order`
  std::uint64_t arrivals_ = 0;
  std::size_t waiting_ = 0;
  std::size_t ready_ = 0;
};

} // namespace millrace::schedule
