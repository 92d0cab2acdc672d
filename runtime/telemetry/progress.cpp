#include "runtime/telemetry/progress.hpp"

#include "runtime/telemetry/printed.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace millrace::telemetry {
namespace {

constexpr std::size_t steps_looked_at = 16;

} // namespace

std::string in_time(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::max(seconds, 0.0)));
  if (whole < 60)
    return printed("%lld s", whole);
  if (whole < 3600)
    return printed("%lld:%02lld", whole / 60, whole % 60);
  return printed("%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string in_words(const progress& p) {
  std::string line = "step " + std::to_string(p.step) + "/" + std::to_string(p.steps);
  if (std::isfinite(p.reward) && p.step > 0)
    line += printed("  reward %.3f  %.0f tokens/s  staleness %.1f", p.reward, p.tokens_per_s, p.staleness);
  else if (p.tokens_per_s > 0)
    line += printed("  %.0f tokens/s", p.tokens_per_s);
  if (!p.doing.empty())
    line += "  " + p.doing;
  if (p.left_s >= 0 && p.step < p.steps)
    line += "  " + in_time(p.left_s) + " left";
  return line;
}

void progress_line::show(const progress& p, double at_s) {
  if (to_.on_terminal()) {
    to_.live_line(in_words(p));
    return;
  }
  if (p.step == shown_step_ || (at_s - shown_s_ < every_s_ && p.step < p.steps))
    return;
  shown_s_ = at_s;
  shown_step_ = p.step;
  to_.say(in_words(p));
}

void time_left::step_done(double at_s) {
  ends_s_.push_back(at_s);
  if (ends_s_.size() > steps_looked_at + 1)
    ends_s_.erase(ends_s_.begin());
}

double time_left::seconds(std::int64_t steps_left) const {
  if (ends_s_.size() < 2)
    return -1;
  std::vector<double> durations(ends_s_.size());
  std::adjacent_difference(ends_s_.begin(), ends_s_.end(), durations.begin());
  durations.erase(durations.begin());
  std::sort(durations.begin(), durations.end());
  const auto cut = static_cast<std::ptrdiff_t>(durations.size() / 4);
  const double sum = std::accumulate(durations.begin() + cut, durations.end() - cut, 0.0);
  return sum / static_cast<double>(std::ssize(durations) - 2 * cut) * static_cast<double>(steps_left);
}

} // namespace millrace::telemetry
