#pragma once

#include <unistd.h>

#include <utility>

namespace millrace::sandbox {

/// A file descriptor that closes itself; -1: none.
class descriptor {
public:
  descriptor() = default;

  explicit descriptor(int number) : number_(number) {}

  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}

  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }

  ~descriptor() { close(); }

  void close() {
    if (number_ >= 0)
      ::close(number_);
    number_ = -1;
  }

  int number() const { return number_; }

private:
  int number_ = -1;
};

} // namespace millrace::sandbox
