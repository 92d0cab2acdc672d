#include "runtime/access/encryption.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

namespace encryption_test {

using namespace millrace::access;

namespace {

std::string digits(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte b : bytes) {
    text += "0123456789abcdef"[std::to_integer<int>(b) >> 4];
    text += "0123456789abcdef"[std::to_integer<int>(b) & 15];
  }
  return text;
}

std::vector<std::byte> encrypted(const key256& key, const std::vector<std::byte>& plain) {
  std::vector<std::byte> made(plain.size() + tag_bytes);
  encrypt(key, plain, made);
  return made;
}

} // namespace

// D. McGrew, J. Viega: The Galois/Counter Mode of Operation, test cases 13 and 14.
TEST_CASE("AES-256-GCM of nothing and of sixteen zeros under a key and a nonce of zeros") {
  CHECK(digits(encrypted({}, {})) == "530f8afbc74536b9a963b4f1c4cb738b");
  CHECK(digits(encrypted({}, std::vector<std::byte>(16)))
        == "cea7403d4d606b6e074ec5d3baf39d18"
           "d0d1c8a799996bf0265b98b5d48ab919");
}

TEST_CASE("what was encrypted comes back, and any change, or another key, is noticed") {
  std::mt19937_64 random(3);
  for (const std::size_t size : {0, 1, 15, 16, 17, 4096, 100'001}) {
    CAPTURE(size);
    std::vector<std::byte> plain(size), back(size);
    for (auto& byte : plain)
      byte = static_cast<std::byte>(random());
    const auto key = random_key();
    auto made = encrypted(key, plain);
    CHECK(decrypt(key, made, back));
    CHECK(back == plain);
    CHECK(!decrypt(random_key(), made, back));
    for (int i = 0; i < 20; ++i) {
      auto& byte = made[random() % made.size()];
      const auto before = byte;
      byte ^= static_cast<std::byte>(1 << random() % 8);
      CHECK(!decrypt(key, made, back));
      byte = before;
    }
    made.pop_back();
    if (size > 0)
      CHECK(!decrypt(key, made, std::span(back).first(size - 1)));
    CHECK(!decrypt(key, made, back)); // of another size
  }
}

} // namespace encryption_test
