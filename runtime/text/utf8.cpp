#include "runtime/text/utf8.hpp"

#include <algorithm>
#include <cstring>

namespace millrace::text {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

enum class outcome { whole, cut_short, broken };

/// One character at the start of a text: its length, or that of the maximal part that could have begun one.
struct character {
  outcome result;
  std::size_t bytes;
};

/// Unicode 15, table 3-7: the second byte decides surrogates, overlong forms and the upper end.
character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80)
    return {outcome::whole, 1};
  if (lead < 0xC2 || lead > 0xF4)
    return {outcome::broken, 1};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size())
      return {outcome::cut_short, i};
    const unsigned from = i == 1 ? low : 0x80;
    const unsigned to = i == 1 ? high : 0xBF;
    if (byte(i) < from || byte(i) > to)
      return {outcome::broken, i};
  }
  return {outcome::whole, length};
}

bool is_python_space(std::string_view c) {
  if (c.size() == 1)
    return (c[0] >= '\t' && c[0] <= '\r') || (c[0] >= '\x1c' && c[0] <= ' ');
  static constexpr std::string_view wide[] = {"\u0085", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003",
                                              "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
                                              "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};
  for (const std::string_view w : wide)
    if (c == w)
      return true;
  return false;
}

} // namespace

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (at + 8 <= text.size()) {
      std::uint64_t block;
      std::memcpy(&block, text.data() + at, 8);
      if ((block & 0x8080808080808080u) == 0) {
        at += 8;
        continue;
      }
    }
    const character c = first_character(text.substr(at));
    if (c.result != outcome::whole)
      return at;
    at += c.bytes;
  }
  return at;
}

void take_characters(std::string& bytes, std::string& text) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::string_view rest = std::string_view(bytes).substr(at);
    const std::size_t good = valid_utf8_prefix(rest);
    text += rest.substr(0, good);
    at += good;
    if (at == bytes.size())
      break;
    const character c = first_character(rest.substr(good));
    if (c.result == outcome::cut_short)
      break;
    text += replacement;
    at += c.bytes;
  }
  bytes.erase(0, at);
}

std::size_t characters_in(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string lossy_utf8(std::string_view bytes) {
  std::string rest(bytes);
  std::string text;
  text.reserve(bytes.size());
  take_characters(rest, text);
  if (!rest.empty())
    text += replacement;
  return text;
}

std::string_view strip_unicode(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = first_character(text).bytes;
    if (!is_python_space(text.substr(0, length)))
      break;
    text.remove_prefix(length);
  }
  while (!text.empty()) {
    std::size_t start = text.size() - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80)
      --start;
    if (!is_python_space(text.substr(start)))
      break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

} // namespace millrace::text
