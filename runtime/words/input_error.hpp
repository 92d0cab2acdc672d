#pragma once

#include <stdexcept>
#include <string>

namespace millrace {

/// What a person gave (a file, a flag, a row) is not usable. `what()` is the one line they read: where, what was
/// found, what was wanted; no trailing newline. Thrown while reading input, never from a handler of an actor.
class input_error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

} // namespace millrace
