#pragma once

#include <string>

namespace millrace::telemetry {

/// What std::printf would write, as a string of whatever length. The compiler checks the values against `how`.
[[gnu::format(printf, 1, 2)]] std::string printed(const char* how, ...);

} // namespace millrace::telemetry
