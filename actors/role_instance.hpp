#pragma once

#include <caf/meta/type_name.hpp>

#include <compare>
#include <cstdint>
#include <string>

namespace millrace::actors {

/// One life of one copy of a role: `rollout/1`, started for the `incarnation`-th time.
struct role_instance {
  std::string role;             ///< as the pipeline names it
  std::uint32_t index = 0;      ///< which of the role's processes, from 0
  std::uint32_t incarnation = 0; ///< counts restarts; a message of an earlier life is told by it

  std::string name() const { return role + "/" + std::to_string(index); }

  auto operator<=>(const role_instance&) const = default;
};

template <class Inspector>
auto inspect(Inspector& f, role_instance& x) {
  return f(caf::meta::type_name("role_instance"), x.role, x.index, x.incarnation);
}

} // namespace millrace::actors
