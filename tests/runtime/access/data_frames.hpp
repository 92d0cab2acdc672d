#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace millrace::access::testing {

/// `bytes` of a number, little endian.
inline std::string number(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i)
    text += static_cast<char>(value >> 8 * i);
  return text;
}

inline std::string header(std::uint8_t kind, std::uint64_t bytes) {
  return number(kind, 1) + number(bytes, 4);
}

inline std::string frame(std::uint8_t kind, const std::string& content) {
  return header(kind, content.size()) + content;
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline std::string from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; };
  std::string text;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    text += static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1]));
  return text;
}

inline const std::string magic = number(0xCAFEBABE12345678, 8);

// ---- contents of frames that two data planes of UCX 1.13.1 have said to each other ----------------------------------

/// A request of a connection from port 46661 of 127.0.0.1.
inline const std::string said_request = from_hex("01000000"
                                                 "00"
                                                 "0000000000000000"
                                                 "0200b6457f000001"
                                                 "0000000000000000");

/// A wireup request of endpoint 3, over loopback, from that port.
inline const std::string said_wireup = from_hex("0101"
                                                "0000"
                                                "0300000000000000"
                                                "0000000000000000" // type, errors, number, source, target
                                                "20"
                                                "0bc19a70df96eae7" // version and flags, worker
                                                "20"
                                                "92" // domain, device
                                                "0102"
                                                "255192db4e692be2"
                                                "f9ffffef00000000" // loopback, IPv4; a namespace
                                                "cf19"
                                                "17b75138"
                                                "539e3e4b"
                                                "d7e03737"
                                                "01132300"
                                                "00"
                                                "82"
                                                "b645");

/// The same over an Ethernet device, from port 45399 of 192.0.2.2.
inline const std::string said_wireup_of_device = from_hex("0101"
                                                          "0000"
                                                          "0300000000000000"
                                                          "0000000000000000"
                                                          "20"
                                                          "862d983413c408e8"
                                                          "20"
                                                          "86"
                                                          "0002"
                                                          "c0000202"
                                                          "cf19"
                                                          "17b75138"
                                                          "97633449"
                                                          "d7e03737"
                                                          "00132300"
                                                          "00"
                                                          "82"
                                                          "b157");

/// Its answer, to endpoint 3 from endpoint 3.
inline const std::string said_reply = from_hex("0201"
                                               "0000"
                                               "0300000000000000"
                                               "0300000000000000"
                                               "20"
                                               "0bc19a70df96eae7"
                                               "ff");

/// An offer of 100,044 bytes by request 3, to endpoint 3, with a header of 112 bytes.
inline const std::string said_offer = from_hex("0100010070000000"
                                               "0300000000000000"
                                               "0300000000000000"
                                               "80a6158675550000"
                                               "cc86010000000000"
                                               "01"
                                               "0000000000000000"
                                               "00")
                                      + std::string(112, 'h');

/// What the other side answers: it demands them by its request 3.
inline const std::string said_demand = from_hex("0300000000000000"
                                                "0300000000000000"
                                                "0030ce1ac17f0000"
                                                "cc86010000000000"
                                                "0000000000000000"
                                                "0000000000000000"
                                                "00");

} // namespace millrace::access::testing
