#include "actors/role_context.hpp"

#include <algorithm>
#include <thread>

namespace millrace::actors {

int role_context::threads() const {
  const auto cores = std::max(1u, std::thread::hardware_concurrency());
  return static_cast<int>(pipeline::threads_of(*pipeline, who.role, cores));
}

} // namespace millrace::actors
