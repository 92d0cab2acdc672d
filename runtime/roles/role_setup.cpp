#include "runtime/roles/role_setup.hpp"

#include "runtime/words/cores.hpp"
#include "runtime/words/milliseconds.hpp"

#include <cstdint>

namespace millrace::roles {

std::chrono::milliseconds role_setup::deadline() const {
  return milliseconds_of(pipeline->run.request_deadline_s);
}

int role_setup::threads() const {
  return static_cast<int>(pipeline::threads_of(*pipeline, who.role, cores_here()));
}

} // namespace millrace::roles
