#pragma once

#include "runtime/sandbox/sandbox.hpp"

#include <doctest/doctest.h>

#include <string>

namespace millrace::tests {

/// Whether this machine has sandboxes; says aloud that a test is skipped where it has none.
inline bool has_sandboxes() {
  static const std::string why = sandbox::sandbox(1).unusable();
  if (!why.empty())
    MESSAGE("skipped, no sandbox here: " << why);
  return why.empty();
}

} // namespace millrace::tests
