#include "runtime/schedule/config.hpp"

#include "runtime/input_error.hpp"

#include <array>
#include <cmath>

namespace millrace::schedule {

namespace {

constexpr std::array<std::string_view, 3> names{"synchronous", "one_step_off", "bounded"};

} // namespace

std::span<const std::string_view> preset_names() {
  return names;
}

config preset(std::string_view name) {
  config result;
  if (name == "synchronous")
    return result;
  result.depth = 1;
  if (name == "one_step_off") {
    result.stale_max = 1;
    return result;
  }
  if (name == "bounded") {
    result.stale_max = 4;
    result.select = select_order::oldest;
    result.in_flight_update = true;
    return result;
  }
  throw input_error("schedule preset '" + std::string(name) + "', want synchronous, one_step_off or bounded");
}

std::vector<std::string> problems(const config& wanted) {
  std::vector<std::string> found;
  if (wanted.groups_per_step < 1)
    found.emplace_back("groups_per_step: 0, want groups, at least 1");
  if (wanted.steps < 1)
    found.emplace_back("steps: 0, want optimizer steps, at least 1");
  if (wanted.attempts_per_group < 1)
    found.emplace_back("attempts_per_group: 0, want attempts, at least 1");
  if (!std::isfinite(wanted.depth) || wanted.depth < 0 || wanted.depth > 1e6)
    found.emplace_back("depth: " + std::to_string(wanted.depth) + ", want steps, from 0 to 1000000");
  else if (wanted.action == stale_action::wait && wanted.depth > wanted.stale_max)
    found.emplace_back("depth: " + std::to_string(wanted.depth) + " is more than stale_max " + std::to_string(wanted.stale_max) +
                       ": groups would be started that the bound never lets train");
  return found;
}

std::string_view to_string(select_order order) {
  return order == select_order::in_order ? "in_order" : "oldest";
}

std::string_view to_string(stale_action action) {
  return action == stale_action::wait ? "wait" : "train";
}

} // namespace millrace::schedule
