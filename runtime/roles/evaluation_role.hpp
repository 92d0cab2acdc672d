#pragma once

#include "runtime/columns/version_pulls.hpp"
#include "runtime/roles/abilities.hpp"
#include "runtime/roles/evaluation_core.hpp"
#include "runtime/roles/job_thread.hpp"
#include "runtime/roles/role_setup.hpp"

#include <memory>
#include <mutex>
#include <stop_token>

namespace millrace::roles {

/// `kind = "evaluation"`: takes a version's weights, generates and scores on a thread of its own. Stopped: the
/// evaluation at hand ends at the next decode step. Overloaded: evaluations queue.
class evaluation_role : public evaluator, public weights_taker {
public:
  static constexpr int lower_priority = 10; ///< nice of its threads

  /// Reads the rows; warns of those that cannot be used.
  /// @throws input_error in one line: a file without a usable row, a model that cannot be read
  evaluation_role(const role_setup& setup, const pipeline::evaluation_table& table);

  ~evaluation_role() override { stop_.request_stop(); } // the thread is waited for

  /// Pulls the weights and keeps them until it takes newer ones.
  void take(const new_weights& ask, answer_to<weights_live> done) override;

  void evaluate(const evaluate_version& ask, answer_to<version_evaluated> done) override;

  std::uint64_t rows() const override { return core_->rows(); }

  const rules::rule_set& rules() const { return core_->rules(); }

private:
  /// The weights taken last. Pulls that are under way share them.
  struct taken_weights {
    std::mutex mutex;
    version_id version = 0;
    columns::pulled_weights parameters;
  };

  role_setup setup_;
  std::size_t answers_kept_;
  at::Device device_;
  std::shared_ptr<const evaluation_core> core_;
  std::shared_ptr<taken_weights> taken_ = std::make_shared<taken_weights>();
  std::stop_source stop_;
  job_thread merging_; ///< of adapters with their base, beside an evaluation
  columns::version_pulls versions_;
  std::shared_ptr<job_thread> thread_;
};

} // namespace millrace::roles
