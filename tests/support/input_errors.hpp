#pragma once

#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <string_view>

namespace millrace::tests {

/// The line that `call` refuses its input with; "" if it does not.
inline std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const input_error& error) {
    const std::string line = error.what();
    CHECK(line.find('\n') == std::string::npos);
    return line;
  }
  return "";
}

inline void check_contains(const std::string& text, std::string_view part) {
  INFO("text: ", text);
  CHECK(text.find(part) != std::string::npos);
}

} // namespace millrace::tests
