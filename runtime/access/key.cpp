#include "runtime/access/key.hpp"

#include <openssl/rand.h>

#include <stdexcept>

namespace millrace::access {
namespace {

constexpr std::string_view digits = "0123456789abcdef";

} // namespace

void draw_random(std::span<std::byte> to) {
  if (RAND_bytes(reinterpret_cast<unsigned char*>(to.data()), static_cast<int>(to.size())) != 1)
    throw std::runtime_error("OpenSSL has no random numbers");
}

key256 random_key() {
  key256 key;
  draw_random(key);
  return key;
}

std::string hex(const key256& key) {
  std::string text;
  for (const auto byte : key) {
    text += digits[std::to_integer<unsigned>(byte) >> 4];
    text += digits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

std::optional<key256> key_from_hex(std::string_view text) {
  key256 key;
  if (text.size() != 2 * key.size())
    return std::nullopt;
  for (std::size_t i = 0; i < key.size(); ++i) {
    const auto high = digits.find(text[2 * i]), low = digits.find(text[2 * i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos)
      return std::nullopt;
    key[i] = static_cast<std::byte>(high << 4 | low);
  }
  return key;
}

} // namespace millrace::access
