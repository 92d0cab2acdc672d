#pragma once

#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>

namespace millrace::tests {

/// `bytes` after one to four random injuries: a bit flipped, a byte replaced, a run removed, doubled or filled with the
/// bytes that hurt (0, 255), or the end cut off.
inline std::string injured(std::string bytes, std::mt19937& random) {
  const auto below = [&](std::size_t n) { return n == 0 ? 0 : random() % n; };
  for (auto injuries = 1 + below(4); injuries > 0 && !bytes.empty(); --injuries) {
    const std::size_t at = below(bytes.size());
    const std::size_t length = 1 + below(std::min<std::size_t>(bytes.size() - at, 16));
    switch (below(7)) {
    case 0:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
      break;
    case 1:
      bytes[at] = static_cast<char>(below(256));
      break;
    case 2:
      bytes.erase(at, length);
      break;
    case 3:
      bytes.insert(at, bytes.substr(at, length));
      break;
    case 4:
      bytes.replace(at, length, length, '\xff');
      break;
    case 5:
      bytes.replace(at, length, length, '\0');
      break;
    default:
      bytes.resize(at);
    }
  }
  return bytes;
}

/// Runs `read(injured bytes)` `count` times. It may succeed or throw `input_error`; anything else ends the test.
/// @returns how many were refused
template <class Read>
int refused_of(const std::string& bytes, int count, Read read) {
  std::mt19937 random(20260101);
  int refused = 0;
  for (int i = 0; i < count; ++i) {
    try {
      read(injured(bytes, random));
    } catch (const input_error& error) {
      const std::string line = error.what();
      if (line.empty() || line.find('\n') != std::string::npos)
        throw std::logic_error("an error that is not one line: " + line);
      ++refused;
    }
  }
  return refused;
}

} // namespace millrace::tests
