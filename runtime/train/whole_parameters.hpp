#pragma once

#include "runtime/train/held_parameters.hpp"

#include <memory>
#include <vector>

namespace millrace::train {

/// Every rank has all parameters and, within a round, all gradients: `sharding::none` and `optimizer`. Rank r of n adds
/// up the r-th share of all gradients and hands the sum to the others, or keeps it where it alone updates them.
class whole_parameters final : public held_parameters {
public:
  /// @param leaves of fp32, on one device; their gradients are replaced
  /// @param passes that are computed at once; more than 1 only on a CPU and without other ranks
  explicit whole_parameters(model::weights leaves, const team_place& place = {},
                            model::rounded_weights* rounded = nullptr, int passes = 1);

  const flat_layout& layout() const { return layout_; }

  /// [numbers of the layout] f32, of which the leaves' gradients are parts; padding is 0. Undefined while nothing is
  /// summed up on a CPU: the memory is others' then.
  const at::Tensor& gradients() const { return sum_here_.numbers; }

  const model::weights& leaves() const override { return leaves_; }

  const model::weights& leaves_of(std::size_t pass) const override {
    return pass == 0 ? leaves_ : beside_.at(pass - 1).leaves;
  }

  std::vector<updated_piece> updates() const override;
  std::vector<parameter_piece> pieces(int rank) const override;

  void join(std::shared_ptr<collective::group> ranks) override { ranks_ = std::move(ranks); }

  collective::parcel work(const task_round& now, const collective::parcel* task, const compute& own) override;
  std::vector<collective::parcel> work_at_once(const task_round& now, std::span<const collective::parcel> tasks,
                                               const compute& own, model::pass_threads& threads) override;
  bool goes_back(bool loss_is_finite, const at::Tensor& fed, std::size_t pass) override;
  void end_sum() override;
  std::vector<double> squares() const override;
  double norm(const std::vector<std::vector<double>>& squares) const override;
  void rest() override;
  std::shared_ptr<const model::weights> lend() override;
  void about_to_change() override;
  void updated() override;
  void changed() override;
  model::weights whole(bool start) override;
  model::weights own(bool start) const override;

  void keep_start() override { start_ = copies(leaves_); }

  void set_start(const model::weights& whole) override { start_ = copies(whole); }

  void drop_start() override { start_.clear(); }

  bool keeps_start() const override { return !start_.empty(); }

private:
  /// Gradients of leaves.
  struct gradient_sum {
    at::Tensor numbers; ///< [numbers of the layout] f32; undefined: nobody adds to them
    bool zeros = true;
  };

  /// A pass beside the first: the leaves' own memory, and the gradients of its task.
  struct pass_beside {
    model::weights leaves;
    gradient_sum gradients;
  };

  static model::weights copies(const model::weights& parameters);
  flat_range own_share() const;

  bool shares_updates() const { return ranks_ && place_.shard == sharding::optimizer; }

  void prepare(gradient_sum& of, const model::weights& leaves) const;
  static void let_go(gradient_sum& of, const model::weights& leaves);
  void begin(purpose what);
  void compute_round(const task_round& now, const std::function<void()>& passes);
  void set_rows_apart(const at::Tensor& fed);
  void put_rows_back();
  void add_up(const task_round& now);
  void swap_start();

  model::weights leaves_;
  team_place place_;
  flat_layout layout_;
  gradient_sum sum_here_;
  std::vector<pass_beside> beside_;
  std::vector<at::Tensor> tables_;   ///< leaves to some of whose rows a task adds more than once
  at::Tensor rows_apart_;            ///< [rows] int64, of all tables, while a task goes back; else undefined
  std::vector<at::Tensor> row_sums_; ///< [rows, hidden] of each table: their gradients but for the task's
  std::shared_ptr<collective::group> ranks_;
  at::Tensor sum_; ///< with other ranks: this rank's share of the sum so far; undefined: nothing is added up
  std::vector<at::Tensor> received_; ///< by rank: room for what it adds to that share, until the sum is whole
  model::weights start_;
  std::weak_ptr<const model::weights> lent_;
  std::vector<at::Tensor> rounded_; ///< the leaves in bfloat16; empty: passes compute with the leaves
};

} // namespace millrace::train
