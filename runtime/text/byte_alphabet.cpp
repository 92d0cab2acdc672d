#include "runtime/text/byte_alphabet.hpp"

#include <array>

namespace millrace::text {
namespace {

struct alphabet {
  std::array<int, 256> character{}; ///< byte -> code point
  std::array<int, 0x144> byte{};    ///< code point -> byte, or -1
};

constexpr bool printable(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr alphabet make_alphabet() {
  alphabet made;
  for (int& b : made.byte)
    b = -1;
  int next = 0x100;
  for (int b = 0; b < 256; ++b) {
    const int c = printable(b) ? b : next++;
    made.character[static_cast<std::size_t>(b)] = c;
    made.byte[static_cast<std::size_t>(c)] = b;
  }
  return made;
}

constexpr alphabet table = make_alphabet();

} // namespace

std::string to_byte_alphabet(std::string_view bytes) {
  std::string token;
  token.reserve(bytes.size() + bytes.size() / 4);
  for (const char b : bytes) {
    const int c = table.character[static_cast<unsigned char>(b)];
    if (c < 0x80) {
      token += static_cast<char>(c);
    } else {
      token += static_cast<char>(0xC0 | (c >> 6));
      token += static_cast<char>(0x80 | (c & 0x3F));
    }
  }
  return token;
}

std::optional<std::string> from_byte_alphabet(std::string_view token) {
  std::string bytes;
  bytes.reserve(token.size());
  for (std::size_t i = 0; i < token.size(); ++i) {
    unsigned c = static_cast<unsigned char>(token[i]);
    if (c >= 0x80) {
      if (c < 0xC2 || c > 0xDF || i + 1 == token.size())
        return std::nullopt;
      c = ((c & 0x1F) << 6) | (static_cast<unsigned char>(token[++i]) & 0x3F);
    }
    if (c >= table.byte.size() || table.byte[c] < 0)
      return std::nullopt;
    bytes += static_cast<char>(table.byte[c]);
  }
  return bytes;
}

} // namespace millrace::text
