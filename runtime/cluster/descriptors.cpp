#include "runtime/cluster/descriptors.hpp"

#include <sys/resource.h>

namespace millrace::cluster {

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

} // namespace millrace::cluster
