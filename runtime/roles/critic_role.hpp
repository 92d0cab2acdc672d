#pragma once

#include "runtime/roles/abilities.hpp"
#include "runtime/roles/critic_core.hpp"
#include "runtime/roles/job_thread.hpp"
#include "runtime/roles/role_setup.hpp"

#include <memory>
#include <stop_token>

namespace millrace::roles {

/// `kind = "critic"`: adds `value` to passing groups under the weights of the moment, and is trained beside the policy.
///
/// `train` computes the critic's gradient and changes no parameter. `end_step` applies the gradient if the policy
/// trained the step. So an interrupted step changes neither the policy nor the critic. If the critic's targets need the
/// policy's log-probabilities (V-trace), the policy trains first and the targets travel in the request.
///
/// Heavy work runs on one thread in the order of arrival, also the values of passing groups.
class critic_role : public column_adder, public trainer, public state_keeper {
public:
  /// Loads the model, or the checkpoint. @throws input_error
  /// @param ranks as of `policy_role`
  critic_role(const role_setup& setup, const pipeline::critic_table& table,
              std::shared_ptr<collective::membership> ranks = nullptr);

  ~critic_role() override; // the thread is waited for

  transport::wanted_columns reads() const override { return columns::wanted_by(setup_.role()); }

  void add(const process_group& group, columns::column_set columns, answer_to<added_columns> done) override;

  void fetch(const fetch_group& ask, answer_to<group_fetched> done) override;

  void forget(const forget_group& ask) override { core_->forget(ask.group); }

  void train(const train_batch& ask, answer_to<batch_report> done) override;

  void interrupt(const interrupt_training&) override { stop_.request_stop(); }

  bool ends_steps() const override { return true; }

  bool needs_returns() const override;

  void end_step(const millrace::end_step& how) override;

  bool keeps(group_id group) const override { return core_->keeps(group); }

  std::uint64_t parameter_count() const override { return core_->parameter_count(); }

  void write(const write_checkpoint& ask, answer_to<checkpoint_written> done) override;

private:
  role_setup setup_;
  std::shared_ptr<collective::membership> ranks_;
  std::shared_ptr<critic_core> core_; ///< pulls that are under way keep it
  std::stop_source stop_;
  job_thread storage_; ///< waits until checkpoints are written
  job_thread thread_;  ///< last: it ends before what its jobs use
};

} // namespace millrace::roles
