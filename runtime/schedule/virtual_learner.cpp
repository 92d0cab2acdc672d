#include "runtime/schedule/virtual_learner.hpp"

#include <algorithm>
#include <limits>

namespace millrace::schedule {

void virtual_learner::take(const virtual_update& update, double seconds, double now_s) {
  update_ = update;
  began_ = false;
  left_s_ = seconds + (warm_ ? 0 : costs_->first_train_s);
  warm_ = true;
  at_s_ = std::max({now_s, copied_s_, saved_s_});
  if (at_s_ <= now_s)
    began_ = true;
}

double virtual_learner::publish(version_id version, double now_s) {
  if (copied_ != version) {
    copied_ = version;
    copied_s_ = std::max({now_s, copied_s_, saved_s_}) + costs_->copy_s;
  }
  return std::max(now_s, copied_s_);
}

double virtual_learner::save(double now_s) {
  return saved_s_ = std::max({now_s, copied_s_, saved_s_}) + costs_->checkpoint_s;
}

bool virtual_learner::slow_down(double now_s, double times) {
  if (times == times_)
    return false;
  if (computes()) {
    left_s_ = std::max(0.0, left_s_ - (now_s - at_s_) / times_);
    at_s_ = now_s;
  }
  times_ = times;
  return computes();
}

double virtual_learner::next_s() const {
  if (!update_)
    return std::numeric_limits<double>::infinity();
  return began_ ? at_s_ + left_s_ * times_ : at_s_;
}

std::optional<virtual_update> virtual_learner::go_on(double now_s) {
  if (!began_) {
    began_ = true;
    at_s_ = now_s;
    return std::nullopt;
  }
  auto ended = update_;
  update_.reset();
  began_ = false;
  return ended;
}

virtual_learner::shares virtual_learner::busy(double from_s, double until_s) const {
  if (computes())
    return {until_s - from_s, 0, 0};
  // What was asked for first comes first: the one that ends earlier.
  shares found;
  const auto first = std::clamp(std::min(copied_s_, saved_s_), from_s, until_s),
             second = std::clamp(std::max(copied_s_, saved_s_), from_s, until_s);
  (copied_s_ <= saved_s_ ? found.transfer : found.saving) += first - from_s;
  (copied_s_ <= saved_s_ ? found.saving : found.transfer) += second - first;
  return found;
}

} // namespace millrace::schedule
