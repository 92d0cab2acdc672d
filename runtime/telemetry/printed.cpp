#include "runtime/telemetry/printed.hpp"

#include <cstdarg>
#include <cstdio>

namespace millrace::telemetry {

std::string printed(const char* how, ...) {
  std::va_list values;
  va_start(values, how);
  std::va_list again;
  va_copy(again, values);
  const int length = std::vsnprintf(nullptr, 0, how, values);
  va_end(values);
  std::string text(length > 0 ? static_cast<std::size_t>(length) : 0, '\0');
  std::vsnprintf(text.data(), text.size() + 1, how, again);
  va_end(again);
  return text;
}

} // namespace millrace::telemetry
