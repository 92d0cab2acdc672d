#include "runtime/formats/quoted.hpp"

#include <utf8proc.h>

#include <algorithm>

namespace millrace::formats {
namespace {

/// What a terminal shows as itself and nothing else: no control character, and none that turns the writing direction.
bool shows(utf8proc_int32_t point) {
  const auto category = utf8proc_category(point);
  const bool turns = (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
  return !turns && category != UTF8PROC_CATEGORY_CC && category != UTF8PROC_CATEGORY_ZL
         && category != UTF8PROC_CATEGORY_ZP && category != UTF8PROC_CATEGORY_CN;
}

} // namespace

std::string printable(std::string_view text, std::size_t most) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  std::size_t at = 0;
  const std::size_t end = std::min(text.size(), most);
  while (at < end) {
    utf8proc_int32_t point = -1;
    const auto* start = reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at);
    const auto length = utf8proc_iterate(start, static_cast<utf8proc_ssize_t>(text.size() - at), &point);
    if (length > 0 && shows(point)) {
      out.append(text, at, static_cast<std::size_t>(length));
      at += static_cast<std::size_t>(length);
    } else {
      const auto byte = static_cast<unsigned char>(text[at++]);
      out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
  }
  if (end < text.size())
    out += "...";
  return out;
}

std::string in_quotes(std::string_view text, std::size_t most) {
  std::string out("'");
  return out.append(printable(text, most)).append("'");
}

std::string printable_lines(std::string_view text, std::size_t most_a_line) {
  std::string out;
  for (;;) {
    const auto end = text.find('\n');
    out += printable(text.substr(0, end), most_a_line);
    if (end == std::string_view::npos)
      return out;
    out += '\n';
    text.remove_prefix(end + 1);
  }
}

} // namespace millrace::formats
