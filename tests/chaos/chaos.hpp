#pragma once

#include <cstdlib>
#include <string_view>

namespace millrace::tests {

/// Whether the long sweep is asked for: MILLRACE_CHAOS=long in the environment.
inline bool long_sweep() {
  const char* set = std::getenv("MILLRACE_CHAOS");
  return set && std::string_view(set) == "long";
}

} // namespace millrace::tests
