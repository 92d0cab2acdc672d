#pragma once

#include "runtime/roles/abilities.hpp"
#include "runtime/roles/job_thread.hpp"
#include "runtime/roles/policy_core.hpp"
#include "runtime/roles/published_versions.hpp"
#include "runtime/roles/role_setup.hpp"

#include <memory>
#include <stop_token>

namespace millrace::roles {

/// `kind = "policy"`: training, publication and checkpoints are jobs of one thread, in the order asked for. Stopped: a
/// step that is being trained ends at the next micro-batch. Overloaded: requests queue.
class policy_role : public trainer, public weights_giver, public state_keeper {
public:
  /// Loads the model, or the checkpoint. @throws input_error
  /// @param ranks its place among the ranks, the first one; nullptr: there are no others
  explicit policy_role(const role_setup& setup, std::shared_ptr<collective::membership> ranks = nullptr);

  ~policy_role() override; // the thread is waited for

  void fetch(const fetch_group& ask, answer_to<group_fetched> done) override;

  void forget(const forget_group& ask) override { core_->forget(ask.group); }

  void train(const train_batch& ask, answer_to<batch_report> done) override;

  void interrupt(const interrupt_training&) override { stop_.request_stop(); }

  bool ends_steps() const override { return false; }

  bool needs_returns() const override { return false; }

  void end_step(const millrace::end_step&) override {}

  bool keeps(group_id group) const override { return core_->keeps(group); }

  std::uint64_t parameter_count() const override { return core_->parameter_count(); }

  void publish(const publish_weights& ask, answer_to<weights_published> done) override;

  void hold(const hold_weights& ask) override { versions_.hold(ask); }

  void let_go(const weights_taken& what) override { versions_.let_go(what); }

  void write(const write_checkpoint& ask, answer_to<checkpoint_written> done) override;

private:
  role_setup setup_;
  std::shared_ptr<collective::membership> ranks_;
  std::shared_ptr<policy_core> core_; ///< pulls that are under way keep it
  published_versions versions_;
  std::stop_source stop_;
  job_thread storage_; ///< waits until checkpoints are written
  job_thread thread_;  ///< last: it ends before what its jobs use
};

} // namespace millrace::roles
