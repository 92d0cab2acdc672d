#pragma once

#include "runtime/schedule/config.hpp"

#include <span>
#include <string_view>
#include <vector>

namespace millrace::schedule {

/// A named schedule: a system's, or one of our own. Only `groups_per_step`, `steps`, `minibatches`, `min_ready` and
/// what concerns faults and checkpoints are left to the caller.
struct preset_row {
  std::string_view name;
  std::string_view summary; ///< what it does, one sentence
  std::string_view source;  ///< where it is from
  config schedule;
};

std::span<const preset_row> presets();
std::vector<std::string> preset_names();

/// The schedule of that name. @throws input_error for any other name
const config& preset(std::string_view name);

} // namespace millrace::schedule
