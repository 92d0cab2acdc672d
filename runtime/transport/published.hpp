#pragma once

#include "runtime/transport/bundle.hpp"

#include <mutex>
#include <unordered_map>

namespace millrace::transport {

/// The bundles that a node offers, by ticket id. Any thread.
class published {
public:
  /// @returns the id: 1, 2, 3, ...
  std::uint64_t add(bundle value);
  void remove(std::uint64_t id);

  /// Nothing for an id that was never given or was removed.
  std::optional<bundle> find(std::uint64_t id) const;

  struct use {
    std::uint64_t bundles = 0;
    std::uint64_t bytes = 0;
  };

  use usage() const;

private:
  mutable std::mutex mutex_;
  std::unordered_map<std::uint64_t, bundle> bundles_;
  std::uint64_t last_id_ = 0;
  std::uint64_t bytes_ = 0;
};

} // namespace millrace::transport
