#include "runtime/transport/wire_format.hpp"

#include "runtime/access/packed_words.hpp"

#include <array>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <string_view>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace millrace::transport {
namespace {

access::mac256 mac_of(const message& m, const access::key256& key, std::span<const std::byte> payload) {
  const std::span<const std::byte> pieces[] = {{reinterpret_cast<const std::byte*>(&m), offsetof(message, mac)},
                                               payload};
  return access::hmac_sha256(key, pieces);
}

void put(std::vector<std::byte>& to, std::uint64_t value) {
  for (std::size_t i = 0; i < sizeof value; ++i)
    to.push_back(static_cast<std::byte>(value >> (8 * i)));
}

void put(std::vector<std::byte>& to, std::span<const std::byte> value) {
  put(to, std::uint64_t{value.size()});
  to.insert(to.end(), value.begin(), value.end());
}

std::uint64_t number_in(access::packed_words& words) {
  return words.number(sizeof(std::uint64_t));
}

/// A length and as many bytes, the reverse of `put`.
std::span<const std::byte> bytes_in(access::packed_words& words) {
  return words.take(number_in(words));
}

constexpr std::uint64_t address_magic = 0x325244444158524d; // "MRXADDR2"

} // namespace

void seal(message& m, const access::key256& key, std::span<const std::byte> payload) {
  m.mac = mac_of(m, key, payload);
}

bool sealed_with(const message& m, const access::key256& key, std::span<const std::byte> payload) {
  return access::same_mac(m.mac, mac_of(m, key, payload));
}

access::key256 piece_key(const message& header, const access::key256& run) {
  static constexpr std::string_view use = "millrace: bytes of a piece";
  const std::array<std::span<const std::byte>, 2> parts{
      std::as_bytes(std::span(use)), std::as_bytes(std::span(&header, 1)).first(offsetof(message, mac))};
  return access::hmac_sha256(run, parts);
}

std::optional<message> read_message(std::span<const std::byte> header) {
  message m;
  const std::uint32_t magic = m.magic;
  if (header.size() != sizeof m)
    return std::nullopt;
  std::memcpy(&m, header.data(), sizeof m);
  return m.magic == magic ? std::optional(m) : std::nullopt;
}

std::vector<std::byte> write_places(std::span<const std::size_t> places, std::size_t columns) {
  std::vector<std::byte> bits((columns + 7) / 8);
  for (const std::size_t place : places)
    bits.at(place / 8) |= std::byte{1} << (place % 8);
  return bits;
}

std::optional<std::vector<std::size_t>> read_places(std::span<const std::byte> payload, std::size_t columns) {
  std::vector<std::size_t> places;
  if (payload.empty()) {
    places.resize(columns);
    std::iota(places.begin(), places.end(), std::size_t{0});
    return places;
  }
  if (payload.size() != (columns + 7) / 8)
    return std::nullopt;
  for (std::size_t i = 0; i < 8 * payload.size(); ++i)
    if ((payload[i / 8] & std::byte{1} << (i % 8)) != std::byte{}) {
      if (i >= columns)
        return std::nullopt;
      places.push_back(i);
    }
  return places;
}

bool replay_window::accept(std::uint64_t sequence) {
  if (sequence > highest_) {
    const std::uint64_t ahead = sequence - highest_;
    if (ahead >= reach) {
      seen_.reset();
    } else {
      for (std::uint64_t n = highest_ + 1; n < sequence; ++n)
        seen_.reset(n % reach);
    }
    highest_ = sequence;
    seen_.set(sequence % reach);
    return true;
  }
  if (highest_ - sequence >= reach || seen_.test(sequence % reach))
    return false;
  seen_.set(sequence % reach);
  return true;
}

std::vector<std::byte> write(const node_address& address) {
  std::vector<std::byte> out;
  put(out, address_magic);
  put(out, address.life);
  put(out, address.ucx);
  put(out, std::as_bytes(std::span(address.door)));
  put(out, XXH3_64bits(out.data(), out.size()));
  return out;
}

std::optional<node_address> read_address(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(std::uint64_t))
    return std::nullopt;
  const auto body = bytes.first(bytes.size() - sizeof(std::uint64_t));
  access::packed_words in(body), sum(bytes.last(sizeof(std::uint64_t)));
  const bool magic = number_in(in) == address_magic;
  node_address address;
  address.life = number_in(in);
  const auto ucx = bytes_in(in);
  address.ucx.assign(ucx.begin(), ucx.end());
  const auto door = bytes_in(in);
  address.door.assign(reinterpret_cast<const char*>(door.data()), door.size());
  const bool intact = number_in(sum) == XXH3_64bits(body.data(), body.size());
  return magic && intact && in.whole() && !address.ucx.empty() ? std::optional(address) : std::nullopt;
}

std::vector<std::byte> write(const greeting& g) {
  std::vector<std::byte> out;
  put(out, g.connection);
  put(out, g.address);
  return out;
}

std::optional<greeting> read_greeting(std::span<const std::byte> bytes) {
  access::packed_words in(bytes);
  greeting g;
  g.connection = number_in(in);
  const auto address = bytes_in(in);
  g.address.assign(address.begin(), address.end());
  return in.whole() ? std::optional(g) : std::nullopt;
}

} // namespace millrace::transport
