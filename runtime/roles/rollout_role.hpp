#pragma once

#include "runtime/roles/abilities.hpp"
#include "runtime/roles/job_thread.hpp"
#include "runtime/roles/role_setup.hpp"

#include <memory>

namespace millrace::roles {

/// `kind = "rollout"`: tokenizes prompts, decodes, takes up new weights beside decoding and publishes finished groups.
/// Where its table says so it serves its policy to clients too.
///
/// Three threads: the decode loop; one that lays out new weights; and one that everything else runs on, request after
/// request, as in a mailbox. Stopped: what is being generated is gone. Overloaded: groups queue in the decode loop.
class rollout_role : public generator, public weights_taker, public outward {
public:
  /// Loads tokenizer and shape of the role's model; the weights come with `take`.
  /// @throws input_error if the model's folder cannot be read, or clients cannot be served
  rollout_role(const role_setup& setup, const pipeline::rollout_table& table);
  ~rollout_role() override;

  void generate(const generate_group& ask, std::shared_ptr<environment> plays, answer_to<group_accepted> done) override;
  void cancel(const cancel_group& ask) override;
  void interrupt(const interrupt_group& ask) override;
  void take(const new_weights& ask, answer_to<weights_live> done) override;
  void close() override;

private:
  struct state;

  std::shared_ptr<state> state_;
  std::unique_ptr<job_thread> requests_; ///< last: it ends before the state that its jobs work on
};

} // namespace millrace::roles
