#pragma once

#include <chrono>

namespace millrace::cluster {

/// How long the libraries may take to let go once everything is over.
inline constexpr std::chrono::seconds parting_grace{5};

/// This process ends within `grace`, whatever hangs on the way: a library that waits for a connection that nobody
/// answers, a thread that sleeps. Call it when everything that matters is written and said.
/// @param status of the process if it has to be ended so
void end_within(std::chrono::milliseconds grace, int status);

} // namespace millrace::cluster
