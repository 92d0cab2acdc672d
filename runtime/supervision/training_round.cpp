#include "runtime/supervision/training_round.hpp"

#include <algorithm>
#include <utility>

namespace millrace::supervision {

training_round::training_round(std::uint64_t step, std::uint32_t part, std::string leader,
                               std::vector<std::string> others)
    : step_(step), part_(part), leader_(std::move(leader)) {
  for (auto& name : others)
    of_others_.emplace(std::move(name), std::nullopt);
}

std::optional<training_round::outcome> training_round::leader_answered(batch_report report) {
  if (report.step != step_ || report.part != part_ || of_leader_)
    return std::nullopt;
  of_leader_ = std::move(report);
  return finish();
}

std::optional<training_round::outcome> training_round::other_answered(const std::string& who, batch_report report) {
  const auto found = of_others_.find(who);
  if (report.step != step_ || report.part != part_ || found == of_others_.end() || found->second)
    return std::nullopt;
  found->second = std::move(report);
  return finish();
}

std::optional<training_round::outcome> training_round::finish() {
  const bool all =
      std::all_of(of_others_.begin(), of_others_.end(), [](const auto& other) { return other.second.has_value(); });
  if (!of_leader_ || (!of_leader_->interrupted && !all))
    return std::nullopt;
  outcome result{.report = *std::move(of_leader_), .apply = false, .others = {}};
  result.apply = !of_others_.empty() && !result.report.interrupted;
  for (const auto& [name, report] : of_others_)
    result.others.push_back(name);
  if (result.apply)
    for (auto& [name, other] : of_others_) {
      result.report.metrics.insert(other->metrics.begin(), other->metrics.end());
      result.report.skipped = result.report.skipped || other->skipped;
      result.report.critic_cut = std::max(result.report.critic_cut, other->critic_cut);
      if (!other->complaint.empty())
        result.report.complaint += (result.report.complaint.empty() ? "" : "; ") + other->complaint;
    }
  *this = {};
  return result;
}

std::vector<std::string> training_round::awaited() const {
  std::vector<std::string> names;
  if (!under_way())
    return names;
  if (!of_leader_)
    names.push_back(leader_);
  for (const auto& [name, report] : of_others_)
    if (!report)
      names.push_back(name);
  return names;
}

} // namespace millrace::supervision
