#include "runtime/access/key.hpp"

#include <doctest/doctest.h>

namespace key_test {

using namespace millrace::access;

TEST_CASE("random keys differ") {
  CHECK(random_key() != random_key());
}

TEST_CASE("a key is 64 digits, and the digits are the key again") {
  key256 key{};
  key[0] = std::byte{0x0f};
  key[31] = std::byte{0xa5};
  CHECK(hex(key) == "0f" + std::string(60, '0') + "a5");
  CHECK(key_from_hex(hex(key)) == key);
  const auto any = random_key();
  CHECK(key_from_hex(hex(any)) == any);
}

TEST_CASE("a text that is no key gives none") {
  const auto text = hex(random_key());
  for (const auto& wrong : {std::string(), text.substr(1), text + "0", "g" + text.substr(1), "A" + text.substr(1)}) {
    CAPTURE(wrong);
    CHECK_FALSE(key_from_hex(wrong));
  }
}

} // namespace key_test
