#include "runtime/watch/curve.hpp"

namespace millrace::watch {

void curve::add(double step, double value) {
  newest_ = {step, value};
  if (seen_++ % stride_ != 0)
    return;
  kept_.push_back(newest_);
  if (kept_.size() < most)
    return;
  for (std::size_t i = 0; 2 * i < kept_.size(); ++i)
    kept_[i] = kept_[2 * i];
  kept_.resize((kept_.size() + 1) / 2);
  stride_ *= 2;
}

std::vector<std::pair<double, double>> curve::points() const {
  auto all = kept_;
  if (seen_ > 0 && (all.empty() || all.back() != newest_))
    all.push_back(newest_);
  return all;
}

} // namespace millrace::watch
