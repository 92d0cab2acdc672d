#include "runtime/schedule/admission.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace millrace::schedule {

namespace {

/// Products of a count of groups, a number of steps and two of millionths.
__extension__ typedef __int128 wide;

constexpr std::int64_t million = 1'000'000;
constexpr auto most_groups = std::numeric_limits<std::uint32_t>::max();

/// @pre `is_in_millionths(value)`; what is above `most` counts as `most`
std::int64_t millionths(double value, std::uint32_t most) {
  return value >= most ? most * million : static_cast<std::int64_t>(std::llround(value * static_cast<double>(million)));
}

} // namespace

std::uint64_t admission_limit(const config& settings, const gate_state& at) {
  const auto depth = millionths(settings.gate.depth, settings.steps);
  auto lead = million + depth;
  if (settings.gate.warmup > 0)
    lead = std::max(lead, (std::int64_t{at.first_version} - at.version + 1) * million + depth
                              + millionths(settings.gate.warmup, settings.steps));
  lead = std::min(lead, (std::int64_t{settings.steps} - at.version) * million);
  const auto produced = at.version * million + lead;
  auto groups = wide{settings.groups_per_step} * produced * million;
  if (at.oversampled)
    groups += wide{settings.groups_per_step} * (millionths(settings.tail.oversample_prompts, most_groups) - million)
              * std::max<std::int64_t>(0, produced - at.steps_cut * million);
  constexpr auto whole = wide{million} * million;
  return static_cast<std::uint64_t>((groups + whole - 1) / whole);
}

std::uint32_t answers_started(const config& settings, std::uint32_t needed) {
  return static_cast<std::uint32_t>(
      (std::int64_t{needed} * millionths(settings.tail.oversample_attempts, most_groups) + million - 1) / million);
}

double adapted_reclaim(const config& settings, double share, std::size_t ready) {
  const double least = 1.0 / settings.groups_per_step;
  const double now = std::max(share, least);
  return now + ((ready < settings.groups_per_step ? 1.0 : least) - now) / 8;
}

std::int64_t burst_groups(const config& settings) {
  if (std::isinf(settings.gate.burst))
    return std::numeric_limits<std::int64_t>::max() / 2;
  return std::max<std::int64_t>(1, settings.groups_per_step * millionths(settings.gate.burst, most_groups) / million);
}

bool is_in_millionths(double value) {
  if (!(std::abs(value) < 1e9))
    return std::isinf(value) || value == std::floor(value);
  const auto scaled = value * static_cast<double>(million);
  return std::abs(scaled - std::round(scaled))
         <= 4e-16 * std::max(1.0, std::abs(scaled)); // the rounding of the decimal and of the product
}

} // namespace millrace::schedule
