#include "runtime/roles/role_setup.hpp"

#include "runtime/words/cores.hpp"

#include <cstdint>

namespace millrace::roles {

std::chrono::milliseconds role_setup::deadline() const {
  return std::chrono::milliseconds(static_cast<std::int64_t>(pipeline->run.request_deadline_s * 1000));
}

int role_setup::threads() const {
  return static_cast<int>(pipeline::threads_of(*pipeline, who.role, cores_here()));
}

} // namespace millrace::roles
