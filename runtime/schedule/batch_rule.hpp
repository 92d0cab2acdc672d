#pragma once

#include "runtime/schedule/config.hpp"
#include "runtime/schedule/event.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace millrace::schedule {

/// Decides what makes a batch; holds every live group that is not in one. Constant or logarithmic work for each call.
///
/// `in_order`: the B lowest ids, once all of them are ready.
///
/// `oldest`: the B ready groups with the oldest `born`, once no group that is left behind would miss its deadline
/// d = born + stale_max: cut at step s only if, for every k from s to s + stale_max,
///
///     #{left behind with d <= k}  <=  B (k - s)
///
/// This keeps #{live with d <= k} <= B (k - s + 1), so a batch can be formed at every later step; groups started
/// after the cut cannot break it while depth <= stale_max, for then all live groups fit before their deadline.
/// Source: earliest-deadline-first feasibility, Liu and Layland 1973.
class batch_rule {
public:
  explicit batch_rule(const config& wanted);

  /// The group became live without a worker.
  void queue(group_id group);
  /// A group that is new or queued runs on a worker of version `born`.
  void start(group_id group, version_id born);
  /// A started group has all its columns.
  void ready(group_id group, version_id born);
  /// A started group left its worker, or its tensors are gone.
  void requeue(group_id group, version_id born);
  /// A queued group is over.
  void leave_queued(group_id group);
  /// A started group is over.
  void leave(group_id group, version_id born);

  /// The groups of batch `step`, ascending, taken out; nothing while the batch has to wait. `last`: no group will
  /// ever be added, so fewer than B make a batch once all are ready.
  std::optional<std::vector<group_id>> cut(std::uint32_t step, bool last);
  /// A group of a batch that was given up: ready again.
  void give_back(group_id group, version_id born);

  std::size_t live() const { return ready_.size() + waiting_.size(); }
  std::size_t ready() const { return ready_.size(); }

  /// Why `cut` gives nothing: the groups it waits for (at most `limit`, the most urgent first) and whether it is the
  /// bound that asks for them though B groups are ready.
  struct blocked_on {
    bool bound = false;
    std::vector<group_id> groups;
    std::size_t count = 0; ///< of all the groups in the way
  };
  blocked_on blocked(std::uint32_t step, std::size_t limit) const;

private:
  /// How urgent, then the id. Urgency is `born` under `oldest` (queued groups last) and the same for all under `in_order`.
  using entry = std::pair<std::uint32_t, group_id>;

  /// Started groups of one `born` that are not in a batch.
  struct cohort {
    std::int64_t live = 0;
    std::int64_t ready = 0;
  };

  entry started(group_id group, version_id born) const;
  entry unstarted(group_id group) const;
  void count(version_id born, std::int64_t live, std::int64_t ready);
  void insert_waiting(const entry& one);
  void erase_waiting(const entry& one);
  void insert_ready(const entry& one);
  void erase_ready(const entry& one);
  /// Groups in excess at the first deadline that cutting the `size` oldest ready groups at `step` would break; 0: none.
  std::int64_t excess(std::uint32_t step, std::size_t size) const;

  std::size_t size_;
  std::uint32_t stale_max_;
  bool in_order_;
  bool bounded_;
  std::set<entry> ready_;
  std::set<entry> waiting_;              ///< live, not ready
  std::map<version_id, cohort> cohorts_; ///< kept under `oldest`
  std::size_t leading_ready_ = 0;        ///< entries of ready_ before the first of waiting_; kept under `in_order`
};

} // namespace millrace::schedule
