#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace millrace {

/// One life of one copy of a role: `rollout/1`, started for the `incarnation`-th time.
struct role_instance {
  std::string role;              ///< as the pipeline names it
  std::uint32_t index = 0;       ///< which of the role's processes, from 0
  std::uint32_t incarnation = 0; ///< counts restarts; a message of an earlier life is told by it

  std::string name() const { return role + "/" + std::to_string(index); }

  auto operator<=>(const role_instance&) const = default;
};

} // namespace millrace
