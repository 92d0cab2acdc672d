#pragma once

#include <string>

namespace millrace::telemetry {

/// This machine's own name.
std::string host_name();

/// Its name and the cores that the process may use: "node17, 16 cores".
std::string this_machine();

} // namespace millrace::telemetry
