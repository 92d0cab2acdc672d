#include "runtime/access/refusals.hpp"

namespace millrace::access {

void refusals::add(const std::string& who, const std::string& why) {
  const auto line = "turned away " + who + ": " + why;
  if (!waiting_) {
    tell_(line);
    wait();
    return;
  }
  ++untold_;
  last_ = line;
}

void refusals::wait() {
  waiting_ = true;
  timer_.expires_after(pause_);
  timer_.async_wait([this](const boost::system::error_code& stopped) {
    if (!stopped)
      tell_rest();
  });
}

void refusals::tell_rest() {
  waiting_ = false;
  if (untold_ == 0)
    return;
  const auto others = untold_ - 1;
  tell_(last_ + (others > 0 ? " (and " + std::to_string(others) + " more since the line before)" : ""));
  untold_ = 0;
  wait();
}

} // namespace millrace::access
