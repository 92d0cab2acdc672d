#pragma once

#include <stdexcept>
#include <string>

namespace millrace {

/// A run ended without its result. `what()` is the one line why, for people; no trailing newline.
class run_failed : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

} // namespace millrace
