#include "runtime/telemetry/trace.hpp"

#include <chrono>

namespace millrace::telemetry {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double wall_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void tracer::record(span s) {
  const std::lock_guard lock{mutex_};
  if (batch_.spans.size() < capacity_)
    batch_.spans.push_back(std::move(s));
  else
    ++dropped_;
}

void tracer::record(counter c) {
  const std::lock_guard lock{mutex_};
  if (batch_.counters.size() < capacity_)
    batch_.counters.push_back(std::move(c));
  else
    ++dropped_;
}

trace_batch tracer::take() {
  trace_batch taken;
  const std::lock_guard lock{mutex_};
  std::swap(taken, batch_);
  return taken;
}

std::int64_t tracer::dropped() const {
  const std::lock_guard lock{mutex_};
  return dropped_;
}

tracer& process_trace() {
  static auto* const shared = new tracer; // never destroyed: threads may outlive main's end
  return *shared;
}

timed::timed(tracer& to, std::string_view track, std::string_view name, std::string_view category)
    : to_{to}, span_{std::string{track}, std::string{name}, std::string{category}, now_s(), 0, {}} {
}

timed::~timed() {
  span_.duration_s = now_s() - span_.start_s;
  to_.record(std::move(span_));
}

} // namespace millrace::telemetry
