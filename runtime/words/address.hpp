#pragma once

#include <functional>
#include <memory>

namespace millrace {

/// Where messages to somebody go: one actor of this run, in any process. Everyone may keep an address, compare it and
/// hand it on; what it holds, only actors/protocol knows.
class address {
public:
  address() = default;

  explicit address(std::shared_ptr<const void> where) : where_(std::move(where)) {}

  explicit operator bool() const { return where_ != nullptr; }

  const void* where() const { return where_.get(); }

  friend bool operator==(const address& a, const address& b) { return a.where() == b.where(); }

  friend bool operator<(const address& a, const address& b) { return std::less<>{}(a.where(), b.where()); }

private:
  std::shared_ptr<const void> where_;
};

} // namespace millrace
