#pragma once

#include "runtime/report/recorded_run.hpp"

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::report {

/// The keys of a `resolved.toml`, each with its value as it is written: ("roles.rules.rules.0.weight", "0.5").
run_settings settings_in(std::string_view resolved);

/// One fact in which runs differ.
struct difference {
  std::string what;                ///< "machine", or a key of `resolved.toml`
  std::vector<std::string> values; ///< one a run; "" = it has none
};

/// What is not the same in all runs: the machine, then the keys in the order of the first run that has them.
std::vector<difference> differences(std::span<const recorded_run> runs);

} // namespace millrace::report
