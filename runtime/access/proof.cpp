#include "runtime/access/proof.hpp"

#include "runtime/access/hmac.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace millrace::access {
namespace {

constexpr std::array<std::byte, 4> mark = {std::byte{'M'}, std::byte{'L'}, std::byte{'R'}, std::byte{'1'}};
constexpr std::size_t random_at = mark.size(), mac_at = random_at + 16;

mac256 mac_of(const key256& key, std::span<const std::byte> random, const place& where) {
  const std::span<const std::byte> pieces[] = {random, where};
  return hmac_sha256(key, pieces);
}

} // namespace

place place_of(const sockaddr* address) {
  place result{};
  if (address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    result[10] = result[11] = std::byte{0xff};
    std::memcpy(&result[12], &v4.sin_addr, 4);
    std::memcpy(&result[16], &v4.sin_port, 2);
  } else if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, address, sizeof v6);
    std::memcpy(&result[0], &v6.sin6_addr, 16);
    std::memcpy(&result[16], &v6.sin6_port, 2);
  }
  return result;
}

proof make_proof(const key256& key, const place& target) {
  proof made{};
  std::ranges::copy(mark, made.begin());
  const auto random = std::span(made).subspan(random_at, mac_at - random_at);
  draw_random(random);
  std::ranges::copy(mac_of(key, random, target), made.begin() + mac_at);
  return made;
}

bool proof_book::accept(const proof& shown, const place& own) {
  if (!std::equal(mark.begin(), mark.end(), shown.begin()))
    return false;
  random_part random;
  std::copy_n(shown.begin() + random_at, random.size(), random.begin());
  mac256 mac;
  std::copy_n(shown.begin() + mac_at, mac.size(), mac.begin());
  const bool known =
      std::ranges::any_of(keys_, [&](const key256& key) { return same_mac(mac, mac_of(key, random, own)); });
  return known && seen_.insert(random).second;
}

} // namespace millrace::access
