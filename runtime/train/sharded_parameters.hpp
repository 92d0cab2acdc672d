#pragma once

#include "runtime/collective/exchange_line.hpp"
#include "runtime/train/held_parameters.hpp"

#include <c10/core/Storage.h>

#include <future>
#include <memory>
#include <optional>
#include <vector>

namespace millrace::train {

/// Every rank keeps a share of each unit of the layout: of the parameters, of the sum of their gradients, and (by
/// `updates`) of the optimizer's moments. `sharding::full`.
///
/// A pass over a block brings the block's parameters together before and lets go of them after; those of the next block
/// travel meanwhile. A block's gradients go to the ranks that keep them as soon as they are there. What is outside of
/// the blocks is at hand for a whole round. Where passes compute in bfloat16, that is what travels, in half the bytes,
/// and the leaves have no memory: a rank rounds its share on the way out. The ranks go through the blocks in step: one
/// without a task goes along, and so does one whose task has ended on the way, from where it is. For that, whatever a
/// pass asks of the blocks either is done or, where an allocation fails, can be asked again.
///
/// Source: the third stage of ZeRO, Rajbhandari et al. 2020, arXiv:1910.02054. Differs from it in: gradients are added
/// up in the order of tasks.
class sharded_parameters final : public held_parameters, private model::block_weights {
public:
  /// @param parameters of a decoder; shares are copies in fp32 on `device`
  /// @throws input_error naming a parameter that holds NaN or infinity
  sharded_parameters(const model::weights& parameters, at::Device device, const team_place& place,
                     model::rounded_weights* rounded = nullptr);
  ~sharded_parameters() override;

  const model::weights& leaves() const override { return leaves_; }

  model::block_weights* blocks() override { return this; }

  std::vector<updated_piece> updates() const override;
  std::vector<parameter_piece> pieces(int rank) const override;
  void join(std::shared_ptr<collective::group> ranks) override;
  collective::parcel work(const task_round& now, const collective::parcel* task, const compute& own) override;
  bool goes_back(bool loss_is_finite, const at::Tensor& fed, std::size_t pass) override;

  void end_sum() override {}

  std::vector<double> squares() const override { return squares_of_blocks(sum_); }

  double norm(const std::vector<std::vector<double>>& squares) const override;

  void updated() override {}

  model::weights whole(bool start) override;
  model::weights own(bool start) const override;
  void keep_start() override;

  void set_start(const model::weights& whole) override { start_ = share_of(whole); }

  void drop_start() override { start_.reset(); }

  bool keeps_start() const override { return start_.defined(); }

private:
  /// Parameters that are at hand together.
  struct unit {
    flat_layout::unit what;
    flat_range own;                 ///< of the layout: this rank's share
    std::int64_t begin = 0;         ///< of that share among this rank's shares
    c10::Storage memory;            ///< of what passes compute with; empty while it is away
    at::Tensor coming;              ///< [numbers] on the CPU: its parameters, on their way
    std::shared_future<void> comes; ///< valid while they are
    bool here = false;
    at::Tensor gradients; ///< [numbers] of this rank's task; undefined: there are none
  };

  /// Gradients on their way to those who keep them.
  struct delivery {
    unit* to = nullptr;
    std::vector<at::Tensor> incoming; ///< [own numbers] of each rank that computes
    std::shared_future<void> done;
  };

  void forward_begins(std::int64_t layer) override;
  void forward_ends(std::int64_t layer) override;
  void backward_begins(std::int64_t layer) override;
  void backward_ends(std::int64_t layer) override;

  at::Tensor share_of(const model::weights& whole) const;
  at::Tensor shares_of(const unit& one, const at::Tensor& shares) const;
  at::Tensor piece_of(const unit& one, const parameter_piece& piece, const at::Tensor& shares) const;

  flat_range part_of(const unit& one, int rank) const;
  at::Tensor parameter_in(const unit& one, std::size_t parameter, const at::Tensor& numbers) const;

  unit& of_layer(std::int64_t layer) { return units_[of_layer_[static_cast<std::size_t>(layer)]]; }

  std::int64_t layers() const { return static_cast<std::int64_t>(of_layer_.size()); }

  bool computes() const { return now_.computes(place_.rank); }

  std::vector<at::Tensor> for_each_rank() const {
    return std::vector<at::Tensor>(static_cast<std::size_t>(place_.size));
  }

  void make_leaves(const model::weights& parameters, model::rounded_weights* rounded);
  at::Tensor buffer(std::int64_t numbers, const at::TensorOptions& options);
  void bring(unit& one);
  void have(unit& one);
  void let_go(unit& one);
  void begin_gradients(unit& one);
  void deliver(unit& one);
  void take_delivery();
  void begin_round(const task_round& now);
  void go_along(bool with_task);
  void ask_whether_back(bool loss_is_finite);
  void end_round();
  void forget_round();

  team_place place_;
  flat_layout layout_;
  std::vector<unit> units_;
  std::vector<std::size_t> of_layer_; ///< units
  std::vector<std::size_t> others_;   ///< units outside of the blocks
  model::weights leaves_;
  at::TensorOptions options_;
  at::ScalarType computed_in_ = at::kFloat;
  at::Tensor own_, sum_, start_; ///< [numbers of this rank's shares]
  std::unique_ptr<collective::exchange_line> line_;
  task_round now_;
  std::int64_t passed_ = 0;       ///< calls of `block_weights` in this round that are done
  std::optional<bool> goes_back_; ///< whether the ranks go back in this round; nothing: they have not said yet
  std::optional<delivery> on_the_way_;
  std::vector<at::Tensor> buffers_; ///< of this round and of those before, used again once nobody else has them
};

} // namespace millrace::train
