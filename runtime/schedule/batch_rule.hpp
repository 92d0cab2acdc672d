#pragma once

#include "runtime/schedule/by_id.hpp"
#include "runtime/schedule/config.hpp"
#include "runtime/schedule/event.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace millrace::schedule {

/// Decides what makes a batch; holds every live group that is not in one. A group's `age_from` is the version that its
/// staleness is counted from: that of its worker while it generates, what `measure` says once it is ready.
///
/// `in_order`: the lowest live ids, once all of them are ready. Every other order takes the ready groups that it
/// prefers, after those that the bound forces in:
///
/// Under `wait`, with deadline d = age_from + stale_max, an update of n groups that leaves r groups of step s to later
/// updates is cut only if afterwards, for every k from s to s + stale_max,
///
///     #{left behind with d <= k}  <=  r + B (k - s)
///
/// so that a batch can be formed at every later step; groups started after the cut cannot break it while
/// depth <= stale_max, for then all live groups fit before their deadline. As many of the most urgent ready groups as
/// that needs are taken first. Source: earliest-deadline-first feasibility, Liu and Layland 1973.
class batch_rule {
public:
  explicit batch_rule(const config& wanted);

  /// The group became live, or is again, without a worker and without tokens.
  void queue(group_id group);
  /// A group that is new or queued runs on a worker of version `age_from`.
  void start(group_id group, version_id age_from, bool was_queued);
  /// A started group has all its columns.
  void ready(group_id group, version_id born, version_id age_from, std::int64_t tokens);
  /// A started group left its worker, or its tensors are gone.
  void requeue(group_id group, version_id age_from, bool was_ready);
  /// A queued group is over.
  void leave_queued(group_id group);
  /// A started group is over.
  void leave(group_id group, version_id age_from, bool was_ready);

  /// An update to be cut.
  struct request {
    std::uint32_t step = 0;
    std::size_t size = 0;       ///< n, >= 1
    std::size_t step_after = 0; ///< r
    bool last = false;          ///< no group will ever be added: fewer than n are enough once all are ready
    group_id below = 0;         ///< not 0: the batch is what is live of the ids below this one (`lost_group` shrink)
  };

  /// The groups of an update, ascending, taken out; nothing while it has to wait.
  std::optional<std::vector<group_id>> cut(const request& wanted);
  /// Whether `cut` would give some.
  bool able(const request& wanted) const;
  /// A group of an update that was given up: ready again.
  void give_back(group_id group, version_id age_from, std::int64_t tokens);
  /// Ready groups that are older than the bound at `step`, in ascending order of age_from, then id. Not for `in_order`.
  std::vector<group_id> overdue(std::uint32_t step) const;

  std::size_t live() const { return waiting_ + ready_; }
  std::size_t ready() const { return ready_; }
  std::size_t leading() const { return leading_ready_; } ///< `in_order`: ready ids below the lowest that is not
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
    version_id age_from = 0;
    std::int64_t live = 0;
    std::vector<entry> ready; ///< a heap, the preferred one first
  };
  enum class mark : std::uint8_t { waiting, ready };

  static bool worse(const entry& a, const entry& b) { return a.rank != b.rank ? a.rank > b.rank : a.id > b.id; }

  std::vector<cohort>::iterator find_cohort(version_id age_from); ///< the first that is not older
  cohort& cohort_of(version_id age_from);
  void forget_if_empty(version_id age_from);
  void push_ready(group_id group, version_id age_from, std::int64_t tokens);
  void erase_ready(group_id group, version_id age_from);
  void mark_waiting(group_id group);
  void mark_ready(group_id group);
  void clear_mark(group_id group);
  void look_on_from(group_id group); ///< for the first waiting id
  std::vector<group_id> cut_in_order(const request& wanted);
  /// How many each cohort has to give; nothing if that cannot be. `short_of`: groups in excess at the first broken deadline.
  std::optional<std::vector<std::size_t>> forced(const request& wanted, std::size_t* short_of) const;
  void take_preferred(std::size_t count, std::vector<group_id>& groups);
  void take_first_come(std::size_t count, std::vector<group_id>& groups);
  void take_alike(std::size_t count, std::vector<group_id>& groups);
  void pop(cohort& from, std::vector<group_id>& groups);

  std::size_t size_;
  std::uint32_t stale_max_;
  select_order order_;
  bool waits_;
  std::vector<cohort> cohorts_; ///< ascending age_from; kept unless `in_order`
  by_id<mark> marks_;             ///< kept under `in_order`
  group_id first_waiting_ = 0;    ///< lowest waiting id, marks_.end() where there is none; kept under `in_order`
  std::size_t leading_ready_ = 0; ///< ready ids below it; kept under `in_order`
  std::uint64_t arrivals_ = 0;
  std::size_t waiting_ = 0;
  std::size_t ready_ = 0;
};

} // namespace millrace::schedule
