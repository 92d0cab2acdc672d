#include "runtime/supervision/unscored_groups.hpp"

namespace millrace::supervision {

void unscored_groups::count(bool without) {
  last_.push_back(without);
  without_ += without;
  if (last_.size() > window) {
    without_ -= last_.front();
    last_.pop_front();
  }
}

void unscored_groups::unscored(const std::string& role, const std::string& why) {
  count(true);
  ++by_role_[role];
  last_line_ = role + ": " + why;
}

std::string unscored_groups::too_many() const {
  if (last_.size() < fewest || static_cast<double>(without_) <= most_share_ * static_cast<double>(last_.size()))
    return "";
  return std::to_string(without_) + " of the last " + std::to_string(last_.size())
         + " groups could not be scored, more than run.max_unscored allows; the last one: " + last_line_;
}

std::map<std::string, double> unscored_groups::take_figures() {
  std::map<std::string, double> figures{{"groups/unscored", 0.0}};
  for (const auto& [role, count] : by_role_) {
    figures["groups/unscored/" + role] = static_cast<double>(count);
    figures["groups/unscored"] += static_cast<double>(count);
  }
  by_role_.clear();
  return figures;
}

} // namespace millrace::supervision
