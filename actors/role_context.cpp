#include "actors/role_context.hpp"

#include "runtime/cores.hpp"

namespace millrace::actors {

int role_context::threads() const {
  return static_cast<int>(pipeline::threads_of(*pipeline, who.role, cores_here()));
}

} // namespace millrace::actors
