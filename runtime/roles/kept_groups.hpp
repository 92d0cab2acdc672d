#pragma once

#include "runtime/train/training_group.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace millrace::roles {

/// The groups that a learner has fetched and not yet trained. Thread-safe.
class kept_groups {
public:
  void keep(train::training_group group);
  void forget(std::uint64_t group);
  void forget(std::span<const std::uint64_t> groups);

  bool has(std::uint64_t group) const;

  /// nullptr: it is not kept.
  std::shared_ptr<const train::training_group> find(std::uint64_t group) const;

  /// Copies, in the order asked for. @throws std::logic_error for a group that was never fetched
  std::vector<train::training_group> of(std::span<const std::uint64_t> groups) const;

private:
  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<const train::training_group>> groups_;
};

} // namespace millrace::roles
