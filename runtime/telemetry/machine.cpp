#include "runtime/telemetry/machine.hpp"

#include "runtime/words/cores.hpp"

#include <unistd.h>

#include <array>

namespace millrace::telemetry {

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

std::string this_machine() {
  const auto cores = cores_here();
  return host_name() + ", " + std::to_string(cores) + (cores == 1 ? " core" : " cores");
}

} // namespace millrace::telemetry
