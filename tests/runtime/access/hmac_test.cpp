#include "runtime/access/hmac.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace hmac_test {

using namespace millrace;
using namespace millrace::access;

namespace {

std::vector<std::byte> bytes(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

std::string hex(const mac256& mac) {
  std::string text;
  for (const std::byte b : mac) {
    text += "0123456789abcdef"[std::to_integer<int>(b) >> 4];
    text += "0123456789abcdef"[std::to_integer<int>(b) & 15];
  }
  return text;
}

} // namespace

TEST_CASE("hmac_sha256 gives the tags of RFC 4231, cases 1, 2 and 6") {
  CHECK(hex(hmac_sha256(std::vector(20, std::byte{0x0b}), bytes("Hi There")))
        == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(hex(hmac_sha256(bytes("Jefe"), bytes("what do ya want for nothing?")))
        == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(hex(hmac_sha256(std::vector(131, std::byte{0xaa}),
                        bytes("Test Using Larger Than Block-Size Key - Hash Key First")))
        == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("hmac_sha256 of pieces is that of the whole, also with empty pieces and an empty key") {
  const auto whole = bytes("what do ya want for nothing?");
  const std::span<const std::byte> pieces[] = {std::span(whole).first(5), {}, std::span(whole).subspan(5)};
  CHECK(hmac_sha256(bytes("Jefe"), pieces) == hmac_sha256(bytes("Jefe"), whole));
  CHECK(hmac_sha256({}, pieces) == hmac_sha256({}, whole));
}

TEST_CASE("same_mac sees a difference in any byte") {
  const mac256 a = hmac_sha256(bytes("k"), bytes("m"));
  CHECK(same_mac(a, a));
  for (std::size_t i = 0; i < a.size(); ++i) {
    mac256 b = a;
    b[i] ^= std::byte{1};
    CHECK_FALSE(same_mac(a, b));
  }
}

} // namespace hmac_test
