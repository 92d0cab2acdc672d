#pragma once

#include "runtime/collective/group_source.hpp"
#include "runtime/collective/parcel.hpp"
#include "runtime/train/gradient_buffer.hpp"
#include "runtime/train/optimizer.hpp"
#include "runtime/words/sharding.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace millrace::train {

/// A rank's place in its team, which is the same for its whole life.
struct team_place {
  int rank = 0;
  int size = 1;
  sharding shard = sharding::none;

  /// Of the parameters, what this rank updates.
  std::vector<parameter_piece> updates(const gradient_buffer& gradients) const {
    return shard == sharding::none ? gradients.pieces(0, 1) : gradients.pieces(rank, size);
  }
};

/// Where a learner sits among its ranks.
struct team_seat {
  team_place place = {};
  std::shared_ptr<collective::group_source> others = {}; ///< nullptr: there are none
};

/// Does work of several ranks again and again until none is lost on the way: each try waits for the next group.
template <class Work>
auto until_none_is_lost(Work work) {
  for (;;)
    try {
      return work();
    } catch (const collective::lost&) {
    }
}

/// The ranks of one learner at work. The first rank leads: it holds the step, cuts it into tasks, deals them out and
/// decides. The others hold the same parameters and do as they are told, in `follow`. A learner of one process is a
/// team of one.
///
/// A task is a micro-batch: what it takes to compute one gradient. The sum of a step's gradients is added up one task
/// after another, in the order of tasks, whichever rank computes them. Rank r of n adds up the r-th share of all
/// numbers and hands it on. So the sum is bit for bit the same for any number of ranks.
///
/// With `sharding::optimizer` no rank has what another one keeps. So a lost rank ends the training, once parameters
/// have changed since they were loaded. Else, a rank that is lost costs the work of the update under way:
/// `collective::lost` says so, and nothing has changed. The next call works with the ranks that there are then, who get
/// the leader's state. Not thread-safe.
class team {
public:
  /// Adds the gradient of one task to the gradient buffer. `numbers[0]` of what it returns is the task's share of the
  /// loss; if that is not finite, no gradient was added.
  using compute = std::function<collective::parcel(const collective::parcel& task)>;

  /// @param optimizer of the parameters that the seat's place updates; their gradients are `gradients`
  team(team_seat seat, gradient_buffer& gradients, adamw& optimizer, compute own);

  /// What became of tasks.
  struct outcome {
    std::vector<collective::parcel> results; ///< in the order of tasks; ends with the first whose loss is not finite
    bool stopped = false;                    ///< by `stop`
    int ranks = 1;                           ///< that computed side by side
  };

  /// Sums up the tasks' gradients in the gradient buffer; its old content is gone. Where a loss is not finite or `stop`
  /// says so, the buffer's content means nothing.
  /// @param stop asked before each round of tasks, one task a rank
  /// @throws collective::lost a rank is gone; the sum means nothing and parameters are as they were. So do the others
  outcome sum_gradients(std::span<const collective::parcel> tasks, const std::function<bool()>& stop);

  /// Adds further tasks' gradients to the sum.
  outcome add_gradients(std::span<const collective::parcel> tasks, const std::function<bool()>& stop);

  /// Computes tasks that have no gradients.
  outcome compute_all(std::span<const collective::parcel> tasks, const std::function<bool()>& stop);

  /// The same on this rank alone.
  outcome compute_here(std::span<const collective::parcel> tasks, const std::function<bool()>& stop);

  /// Of the last sum.
  double gradient_norm() const { return norm_; }

  /// The optimizer's moments, those of the other ranks too, by name. @throws std::runtime_error a rank is gone
  model::weights moments();

  /// One update with the gradient buffer's content, as `adamw::step`, on every rank. @returns the learning rate
  double apply(double scale, std::int64_t course);

  /// Another rank's life: does what the leader says, until there is no group any more. Threads: the caller's.
  void follow();

private:
  enum class command : std::int64_t { compute, share, keep, apply, state, moments };
  /// What a round of tasks is for: no gradients; a new sum; to be added to the sum that is in the gradient buffer; a
  /// further round of the sum under way.
  enum class purpose : std::int64_t { none, first, more, goes_on };

  outcome run(std::span<const collective::parcel> tasks, purpose what, const std::function<bool()>& stop);
  outcome run_here(std::span<const collective::parcel> tasks, purpose what, const std::function<bool()>& stop);
  outcome run_with(collective::group& ranks, std::span<const collective::parcel> tasks, purpose what,
                   const std::function<bool()>& stop);
  void deal_out(collective::group& ranks, std::span<const collective::parcel> round, purpose what);
  std::shared_ptr<collective::group> present();
  void agree(collective::group& ranks);
  void exchange_state(collective::group& ranks);
  void follow(collective::group& ranks);
  void obey(collective::group& ranks, collective::parcel told);
  void begin_sum(const collective::group& ranks, purpose what);
  void add_up(collective::group& ranks, int computed);
  void share_sums(collective::group& ranks);
  void keep_share(collective::group& ranks);
  void end_sum(collective::group& ranks);
  void exchange_parameters(collective::group& ranks);

  bool sharded() const { return seat_.others && seat_.place.shard == sharding::optimizer; }

  void lose_group(const std::string& why);

  team_seat seat_;
  gradient_buffer& gradients_;
  adamw& optimizer_;
  compute own_;
  std::shared_ptr<collective::group> group_; ///< of the leader; nullptr: none yet, or it is lost
  std::shared_ptr<collective::group> lost_;  ///< the last one that was of no use any more
  std::vector<at::Tensor> tables_;           ///< parameters whose gradients one task adds to more than once
  double norm_ = 0;
  std::int64_t changes_ = 0; ///< of parameters, since they were loaded
  at::Tensor sum_;           ///< this rank's share of the sum so far; undefined: nothing is added up
};

} // namespace millrace::train
