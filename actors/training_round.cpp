#include "actors/training_round.hpp"

#include <utility>

namespace millrace::actors {

std::optional<training_round::outcome> training_round::policy_answered(batch_report report) {
  if (report.step != step_ || report.part != part_ || of_policy_)
    return std::nullopt;
  of_policy_ = std::move(report);
  return finish();
}

std::optional<training_round::outcome> training_round::critic_answered(batch_report report) {
  if (report.step != step_ || report.part != part_ || critic_.empty() || of_critic_)
    return std::nullopt;
  of_critic_ = std::move(report);
  return finish();
}

std::optional<training_round::outcome> training_round::finish() {
  if (!of_policy_ || (!of_policy_->interrupted && !critic_.empty() && !of_critic_))
    return std::nullopt;
  outcome result{*std::move(of_policy_), !critic_.empty(), false};
  result.critic_applies = !critic_.empty() && !result.report.interrupted;
  if (result.critic_applies) {
    result.report.metrics.insert(of_critic_->metrics.begin(), of_critic_->metrics.end());
    result.report.skipped = result.report.skipped || of_critic_->skipped;
    if (!of_critic_->complaint.empty())
      result.report.complaint += (result.report.complaint.empty() ? "" : "; ") + of_critic_->complaint;
  }
  *this = {};
  return result;
}

std::string training_round::awaited() const {
  if (!under_way())
    return {};
  std::string names = of_policy_ ? "" : policy_;
  if (!critic_.empty() && !of_critic_)
    names += (names.empty() ? "" : ", ") + critic_;
  return names;
}

} // namespace millrace::actors
