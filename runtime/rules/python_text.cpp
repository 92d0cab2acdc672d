#include "runtime/rules/python_text.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <utility>

namespace millrace::rules {
namespace {

using character_range = std::pair<char32_t, char32_t>; ///< both ends are in it

template <std::size_t Count>
bool is_in(const std::array<character_range, Count>& ranges, char32_t character) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const character_range& range) {
    return character >= range.first && character <= range.second;
  });
}

bool is_python_digit(char32_t character) {
  // Digits that are no decimal digits (Unicode's Numeric_Type=Digit), of Python 3.11.
  static constexpr std::array<character_range, 20> not_decimal{
      {{0xB2, 0xB3},     {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},   {0x2070, 0x2070},
       {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247C},   {0x2488, 0x2490},
       {0x24EA, 0x24EA}, {0x24F5, 0x24FD},   {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},
       {0x278A, 0x2792}, {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}}};
  return utf8proc_category(static_cast<utf8proc_int32_t>(character)) == UTF8PROC_CATEGORY_ND
         || is_in(not_decimal, character);
}

} // namespace

python_text as_python_text(std::string_view utf8) {
  python_text out;
  out.reserve(utf8.size());
  for (std::size_t at = 0; at < utf8.size();) {
    utf8proc_int32_t character = 0;
    const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(utf8.data()) + at,
                                         static_cast<utf8proc_ssize_t>(utf8.size() - at), &character);
    out += length > 0 ? static_cast<char32_t>(character) : U'\uFFFD';
    at += length > 0 ? static_cast<std::size_t>(length) : 1;
  }
  return out;
}

std::string as_utf8(const python_text& text) {
  std::string out;
  for (const char32_t character : text) {
    std::array<utf8proc_uint8_t, 4> bytes{};
    const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(character), bytes.data());
    out.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(length));
  }
  return out;
}

bool is_python_space(char32_t character) {
  static constexpr std::array<character_range, 10> spaces{{{0x9, 0xD},
                                                           {0x1C, 0x20},
                                                           {0x85, 0x85},
                                                           {0xA0, 0xA0},
                                                           {0x1680, 0x1680},
                                                           {0x2000, 0x200A},
                                                           {0x2028, 0x2029},
                                                           {0x202F, 0x202F},
                                                           {0x205F, 0x205F},
                                                           {0x3000, 0x3000}}};
  return is_in(spaces, character);
}

bool is_python_digits(const python_text& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_python_digit);
}

python_text replaced(const python_text& text, std::u32string_view from, std::u32string_view to) {
  python_text out;
  std::size_t at = 0;
  for (std::size_t found = text.find(from); found != python_text::npos; found = text.find(from, at)) {
    out.append(text, at, found - at);
    out += to;
    at = found + from.size();
  }
  return out.append(text, at);
}

std::vector<python_text> split_at(const python_text& text, std::u32string_view mark) {
  std::vector<python_text> parts;
  std::size_t at = 0;
  for (std::size_t found = text.find(mark); found != python_text::npos; found = text.find(mark, at)) {
    parts.push_back(text.substr(at, found - at));
    at = found + mark.size();
  }
  parts.push_back(text.substr(at));
  return parts;
}

python_text stripped(const python_text& text) {
  const auto is_kept = [](char32_t character) { return !is_python_space(character); };
  const auto first = std::find_if(text.begin(), text.end(), is_kept);
  const auto last = std::find_if(text.rbegin(), std::make_reverse_iterator(first), is_kept).base();
  return {first, last};
}

python_text last_characters(const python_text& text, std::size_t count) {
  return text.size() > count ? text.substr(text.size() - count) : text;
}

python_text through_closing_brace(const python_text& text, std::size_t at) {
  std::int64_t open = 0;
  for (std::size_t end = at; end < text.size(); ++end) {
    open += text[end] == U'{' ? 1 : text[end] == U'}' ? -1 : 0;
    if (text[end] == U'}' && open == 0)
      return text.substr(at, end + 1 - at);
  }
  return {};
}

} // namespace millrace::rules
