#pragma once

#include "runtime/collective/group.hpp"
#include "runtime/collective/parcel.hpp"
#include "runtime/model/arithmetic.hpp"
#include "runtime/model/block_weights.hpp"
#include "runtime/model/pass_threads.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/train/flat_layout.hpp"
#include "runtime/words/sharding.hpp"

#include <c10/core/Device.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

namespace millrace::train {

/// A rank's place in its team, which is the same for its whole life.
struct team_place {
  int rank = 0;
  int size = 1;
  sharding shard = sharding::none;
};

/// What an optimizer updates: a piece, its values and the sum of its gradients.
struct updated_piece {
  parameter_piece where;
  /// The memory of whoever holds them; of the parameter's shape, or [numbers]. No gradients while none are summed up.
  at::Tensor values, gradients;
};

/// What a round of tasks, at most one a rank, is for: no gradients; a new sum of gradients; to be added to the sum
/// that is there; a further round of the sum under way.
enum class purpose : std::int64_t { none, first, more, goes_on };

struct task_round {
  purpose what = purpose::none;
  std::vector<int> ranks = {0}; ///< those that have a task, in the order of the tasks
  bool from_start = false;      ///< with the parameters of the start of the step

  bool computes(int rank) const { return std::ranges::find(ranks, rank) != ranks.end(); }
};

/// The parameters that a learner trains, as one of its ranks holds them, and the sum of their gradients.
///
/// A sum is added up one task after another, in the order of tasks, whichever rank computes them: so it is bit for bit
/// the same however the parameters are held. The gradients of a task begin at 0.
///
/// Where passes compute in bfloat16, the parameters here are the fp32 masters. Passes find the rounded ones in
/// `model::rounded_weights`.
///
/// Where there are several ranks, all call the same functions in the same order, those that say so excepted.
/// Not thread-safe.
class held_parameters {
public:
  /// Adds the gradients of one task to the `.grad` of the leaves of a pass: 0, or the number of a pass that is computed
  /// side by side with that one. May end on the way, at an allocation that fails: then the sum means nothing, and the
  /// round goes on to its end with the other ranks.
  using compute = std::function<collective::parcel(const collective::parcel& task, std::size_t pass)>;

  virtual ~held_parameters() = default;

  /// Leaves of autograd's graph, in the order of the manifest.
  virtual const model::weights& leaves() const = 0;

  /// The leaves of a pass: the same memory, with gradients of its own. Those of pass 0 are `leaves`.
  virtual const model::weights& leaves_of(std::size_t pass) const {
    return pass == 0 ? leaves() : throw std::logic_error("one pass at a time");
  }

  /// What makes the leaves' memory come and go; nullptr: it is always there.
  virtual model::block_weights* blocks() { return nullptr; }

  /// How many numbers the leaves have.
  std::uint64_t numbers() const {
    std::uint64_t count = 0;
    for (const auto& leaf : leaves())
      count += static_cast<std::uint64_t>(leaf.tensor.numel());
    return count;
  }

  /// Whether each rank has only a share of the parameters.
  bool in_shares() { return blocks() != nullptr; }

  /// What this rank updates. This rank alone.
  virtual std::vector<updated_piece> updates() const = 0;

  /// What a rank updates. This rank alone.
  virtual std::vector<parameter_piece> pieces(int rank) const = 0;

  /// The group of the calls to come. @param ranks nullptr: this rank is alone
  virtual void join(std::shared_ptr<collective::group> ranks) = 0;

  /// One round. @param task of this rank; nullptr: it has none @returns what `own` returns
  /// @throws collective::lost a rank is gone; the sum means nothing
  virtual collective::parcel work(const task_round& now, const collective::parcel* task, const compute& own) = 0;

  /// One round of a rank that is alone, with its tasks computed side by side. @returns what `own` returns for each
  virtual std::vector<collective::parcel> work_at_once(const task_round&, std::span<const collective::parcel>,
                                                       const compute&, model::pass_threads&) {
    throw std::logic_error("one pass at a time");
  }

  /// Whether a task, whose loss is known, may go on to its gradients: within `own`, and before them.
  /// @param fed [tokens] int64: the rows of the embedding that get gradients
  virtual bool goes_back(bool loss_is_finite, const at::Tensor& fed, std::size_t pass) = 0;

  /// The sum is where the update needs it.
  virtual void end_sum() = 0;

  /// Of the sum's blocks on this rank. This rank alone.
  virtual std::vector<double> squares() const = 0;

  /// Of the whole sum. @param squares of each rank that has others; else of this one. This rank alone
  virtual double norm(const std::vector<std::vector<double>>& squares) const = 0;

  /// Between steps: there are no gradients, and on the CPU their memory is spare until the next ones come. This rank
  /// alone.
  virtual void rest() {}

  /// The parameters as they are now, in the memory in which they are trained: whoever has them keeps it, and the next
  /// update goes on in other memory. @returns nullptr where they are not whole, not alone or not on a CPU
  virtual std::shared_ptr<const model::weights> lend() { return nullptr; }

  /// The optimizer is about to update its pieces. This rank alone.
  virtual void about_to_change() {}

  /// The optimizer has updated its pieces: the others get them, where they have them too.
  virtual void updated() = 0;

  /// Parameters have other values, on this rank. What is rounded of them is rounded again. This rank alone.
  virtual void changed() {}

  /// The parameters, on the first rank; the others return nothing. The very tensors that are trained, or copies on the
  /// CPU where there are none. @param start as they were when the step began, if that is kept; always copies
  virtual model::weights whole(bool start) = 0;

  /// What this rank updates, in the order of `pieces`, under the parameters' names: the memory that is trained. This
  /// rank alone.
  /// @param start as in `whole`
  virtual model::weights own(bool start) const = 0;

  /// Keeps the parameters as they are now: the start of a step in parts. Without shares, this rank alone.
  virtual void keep_start() = 0;
  virtual void set_start(const model::weights& whole) = 0;
  virtual void drop_start() = 0;
  virtual bool keeps_start() const = 0;
};

/// How a rank computes micro-batches that are cut for `at_once`: side by side where it is alone, on a CPU. A GPU is
/// taken by one, and ranks have theirs side by side already. @param threads of all together: each pass has its share
model::passes_at_once passes_of(int at_once, int threads, at::Device device, const team_place& place);

/// Copies of parameters, as the place has them shared out. @throws input_error for NaN or infinity
/// @param passes at once, as `passes_of` has them
/// @param rounded gets what passes in bfloat16 compute with, and outlives this; nullptr: they compute with the leaves
std::unique_ptr<held_parameters> hold(const model::weights& parameters, at::Device device, const team_place& place,
                                      model::rounded_weights* rounded = nullptr, int passes = 1);

/// Leaves that every rank has whole, as an adapter's.
std::unique_ptr<held_parameters> hold_whole(model::weights leaves, const team_place& place,
                                            model::rounded_weights* rounded = nullptr, int passes = 1);

} // namespace millrace::train
