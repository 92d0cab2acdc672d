#pragma once

#include "runtime/columns/version_pulls.hpp"
#include "runtime/roles/abilities.hpp"
#include "runtime/roles/job_thread.hpp"
#include "runtime/roles/reference_core.hpp"
#include "runtime/roles/role_setup.hpp"

namespace millrace::roles {

/// `kind = "reference"`: adds log-probabilities of another model. A reference that follows the policy also takes the
/// policy's weights and keeps state.
///
/// - RF-1: versions are followed in order; one that was followed before changes nothing.
/// - RF-2: heavy work runs on one thread, in the order of arrival, also the work on groups. Overloaded: it queues.
class reference_role : public column_adder, public weights_taker, public state_keeper {
public:
  /// Loads the model, and the checkpoint of one that follows. @throws input_error
  reference_role(const role_setup& setup, const pipeline::reference_table& table);

  transport::wanted_columns reads() const override { return columns::wanted_by(setup_.role()); }

  void add(const process_group& group, columns::column_set columns, answer_to<added_columns> done) override;
  void take(const new_weights& ask, answer_to<weights_live> done) override;
  void write(const write_checkpoint& ask, answer_to<checkpoint_written> done) override;

private:
  /// Weights, waited for on a thread that may wait. @throws input_error with the line of what went wrong
  model::weights pulled(const new_weights& what);

  role_setup setup_;
  reference_core core_;
  job_thread merging_; ///< of adapters with their base, while `thread_` waits for the version
  columns::version_pulls versions_;
  job_thread thread_; ///< last: it ends before what its jobs use
};

} // namespace millrace::roles
