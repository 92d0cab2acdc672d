#pragma once

#include "actors/policy.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace millrace::actors {

/// One step, or one of its parts, that the policy and perhaps a critic train side by side: who has not answered, and what the step came to.
///
/// Invariants
/// - TR-1: the step has one outcome, and it comes once: with the policy's answer where that was interrupted, else with
///   the later of the two answers.
/// - TR-2: the critic applies its gradient exactly if the policy used the step's groups up.
class training_round {
public:
  struct outcome {
    batch_report report;       ///< the policy's, with the critic's figures and complaint beside it
    bool beside_critic = false;
    bool critic_applies = false;
  };

  training_round() = default; ///< no step is under way

  /// @param critic its name; "" = there is none
  training_round(std::uint64_t step, std::uint32_t part, std::string policy, std::string critic)
      : step_(step), part_(part), policy_(std::move(policy)), critic_(std::move(critic)) {}

  /// nullopt: the other is awaited, or the answer is of another step.
  std::optional<outcome> policy_answered(batch_report report);
  std::optional<outcome> critic_answered(batch_report report);

  bool under_way() const { return step_ != 0; }

  /// Who has not answered, in words; "" = nobody.
  std::string awaited() const;

private:
  std::optional<outcome> finish();

  std::uint64_t step_ = 0;
  std::uint32_t part_ = 0;
  std::string policy_, critic_;
  std::optional<batch_report> of_policy_, of_critic_;
};

} // namespace millrace::actors
