#pragma once

#include "runtime/collective/group.hpp"

#include <memory>

namespace millrace::collective {

/// Where a rank finds the others, again and again: a group that has lost a rank is of no use any more.
class group_source {
public:
  virtual ~group_source() = default;

  /// The newest group. Waits until there is one other than `last`, and lets that one go before: where nobody else keeps
  /// it, the next one may take its port. @param last nullptr: there was none
  /// @returns nullptr: there will be none @throws std::runtime_error in one line if none comes about in time
  virtual std::shared_ptr<group> group_after(std::shared_ptr<group> last) = 0;
};

} // namespace millrace::collective
