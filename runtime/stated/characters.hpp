#pragma once

#include <string>
#include <string_view>

namespace millrace::stated {

inline bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// An ASCII letter.
inline bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// `text` without ASCII white space at its ends.
inline std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\n\v\f\r";
  const std::size_t first = text.find_first_not_of(blanks);
  return first == std::string_view::npos ? "" : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

/// `text` trimmed, each run of ASCII white space inside it replaced by `space`.
inline std::string with_spaces_as(std::string_view text, std::string_view space) {
  std::string out;
  bool in_run = false;
  for (const char c : trimmed(text)) {
    const bool blank = c == ' ' || (c >= '\t' && c <= '\r');
    if (!blank)
      out += c;
    else if (!in_run)
      out += space;
    in_run = blank;
  }
  return out;
}

} // namespace millrace::stated
