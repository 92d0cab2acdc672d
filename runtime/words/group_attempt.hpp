#pragma once

#include "runtime/words/ids.hpp"

#include <compare>

namespace millrace {

/// One start of a group. An answer to another start changes nothing.
struct group_attempt {
  group_id group = 0;
  attempt_number attempt = 0;

  auto operator<=>(const group_attempt&) const = default;
};

} // namespace millrace
