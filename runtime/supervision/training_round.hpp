#pragma once

#include "runtime/messages/train.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace millrace::supervision {

/// One step, or one of its parts, that several roles train at the same time: which roles have not answered, and the
/// step's outcome.
///
/// One of them leads: it changes its parameters when it trains. The others compute their gradients and wait until they
/// hear whether to apply them. So the step has one outcome for all of them.
///
/// Invariants
/// - TR-1: a round has exactly one outcome. If the leader was interrupted, the leader's answer is the outcome.
///   Otherwise the last of the answers completes it.
/// - TR-2: the others apply their gradients exactly if the leader used the step's groups up.
class training_round {
public:
  struct outcome {
    batch_report report;             ///< the leader's, with the others' figures and complaints beside it
    bool apply = false;              ///< the others apply their gradients
    std::vector<std::string> others; ///< names of those that wait to be told
  };

  training_round() = default; ///< no step is under way

  /// @param others names of those that train beside the leader
  training_round(std::uint64_t step, std::uint32_t part, std::string leader, std::vector<std::string> others);

  /// nullopt: another answer is awaited, or this one is of another step.
  std::optional<outcome> leader_answered(batch_report report);
  std::optional<outcome> other_answered(const std::string& who, batch_report report);

  bool under_way() const { return step_ != 0; }

  /// Who has not answered, the leader first.
  std::vector<std::string> awaited() const;

private:
  std::optional<outcome> finish();

  std::uint64_t step_ = 0;
  std::uint32_t part_ = 0;
  std::string leader_;
  std::optional<batch_report> of_leader_;
  std::map<std::string, std::optional<batch_report>> of_others_; ///< by name
};

} // namespace millrace::supervision
