#include "runtime/access/wireup_frame.hpp"

#include "runtime/access/packed_words.hpp"

#include <sys/socket.h>

#include <cmath>

namespace millrace::access {
namespace {

constexpr std::uint64_t first_version = 0;
/// A header's flags: it has the worker's number, and its number among a program's workers.
constexpr std::uint64_t has_worker = 2, has_client = 4;
constexpr std::uint64_t no_places = 0xff;
constexpr std::uint64_t md_empty = 0x80;
constexpr std::uint64_t device_length_mask = 0x1f, has_system_device = 0x20, has_paths = 0x40, last_one = 0x80;
constexpr std::uint64_t interface_length_mask = 0x3f;
constexpr std::size_t most_places = 32;
constexpr std::uint64_t device_on_loopback = 1;
constexpr std::size_t namespace_bytes = 16, port_bytes = 2, v4_bytes = 4, v6_bytes = 16;
constexpr std::uint64_t peer_failure = 1; // UCP_ERR_HANDLING_MODE_PEER
/// The sum of the name "tcp", and what `uct_tcp_iface_query` (src/uct/tcp/tcp_iface.c) says that it can do. The lowest
/// byte is a device's priority.
constexpr std::uint64_t tcp_name = 0x19cf, tcp_abilities = 0x00231300, tcp_priority = 0xff;

/// UCX computes with these to choose its lanes.
bool is_sensible(float value, float most) {
  return std::isfinite(value) && value >= 0 && value <= most;
}

std::string read_device(packed_words& words, std::uint64_t length, tcp_place& to) {
  const auto flags = words.number(1), family = words.number(1);
  to.v6 = family == AF_INET6;
  to.loopback = flags == device_on_loopback;
  const auto wanted = to.loopback ? namespace_bytes : to.v6 ? v6_bytes : v4_bytes;
  if (flags > device_on_loopback || (family != AF_INET && family != AF_INET6) || length != 2 + wanted)
    return "a device of family " + std::to_string(family) + ", flags " + std::to_string(flags) + " and "
           + std::to_string(length) + " bytes";
  const auto address = words.take(wanted);
  to.address.assign(address.begin(), address.end());
  return "";
}

/// What a device's TCP can do, its port, and that nothing else is on the device.
std::string read_tcp(packed_words& words, bool numbered, tcp_place& to) {
  const auto name = words.number(2);
  const float overhead = words.real(), bandwidth = words.real(), latency = words.real();
  const auto abilities = words.number(4);
  if (numbered)
    words.number(1);
  const auto length = words.number(1);
  if (!words.all_there())
    return "";
  if (name != tcp_name)
    return "a transport that is not TCP";
  if ((abilities & ~tcp_priority) != tcp_abilities)
    return "a TCP of abilities " + std::to_string(abilities);
  if (!is_sensible(overhead, 1) || !is_sensible(latency, 1) || !is_sensible(bandwidth, 1e15F) || bandwidth == 0)
    return "a TCP of a bandwidth, latency or overhead that cannot be";
  if (length != (last_one | port_bytes))
    return "a port of " + std::to_string(length & interface_length_mask) + " bytes and flags "
           + std::to_string(length & ~interface_length_mask);
  const auto port = words.take(port_bytes);
  if (words.all_there())
    to.port = static_cast<std::uint16_t>(std::to_integer<unsigned>(port[0]) << 8 | std::to_integer<unsigned>(port[1]));
  return "";
}

std::string read_place(packed_words& words, bool numbered, tcp_place& to, bool& last) {
  const auto domain = words.number(1), device = words.number(1);
  last = (device & last_one) != 0;
  if ((domain & md_empty) != 0)
    return "a device without a transport";
  to.domain = static_cast<std::uint8_t>(domain);
  if ((device & has_paths) != 0)
    to.paths = static_cast<std::uint8_t>(words.number(1));
  if ((device & has_system_device) != 0)
    to.system_device = static_cast<std::uint8_t>(words.number(1));
  if (!words.all_there())
    return "";
  if (to.paths == 0)
    return "a device without a path";
  if (auto why = read_device(words, device & device_length_mask, to); !why.empty())
    return why;
  return read_tcp(words, numbered, to);
}

} // namespace

std::string read_worker_address(std::span<const std::byte> packed, bool told_to_endpoint, worker_address& to) {
  packed_words words(packed);
  const auto header = words.number(1);
  const auto version = header & 0xf, flags = header >> 4;
  if (words.all_there() && version != first_version)
    return "an address of version " + std::to_string(version);
  if (words.all_there() && (flags & ~has_client) != has_worker)
    return "an address of flags " + std::to_string(flags);
  to.worker = words.number(8);
  if ((flags & has_client) != 0)
    words.number(8);
  packed_words first = words;
  const bool empty = first.number(1) == no_places;
  if (empty)
    words = first;
  for (bool last = empty; !last && words.all_there();) {
    if (to.places.size() == most_places)
      return "an address of more than " + std::to_string(most_places) + " devices";
    if (auto why = read_place(words, told_to_endpoint, to.places.emplace_back(), last); !why.empty())
      return why;
  }
  if (!words.whole())
    return words.all_there() ? "an address with " + std::to_string(words.left()) + " bytes behind it"
                             : "an address that goes on behind its end";
  return "";
}

std::string read_wireup(std::span<const std::byte> content, wireup_frame& to) {
  packed_words words(content);
  to.type = static_cast<std::uint8_t>(words.number(1));
  const auto errors = words.number(1);
  to.number = static_cast<std::uint16_t>(words.number(2));
  to.source = words.number(8);
  to.target = words.number(8);
  if (!words.all_there())
    return "a wireup message of " + std::to_string(content.size()) + " bytes";
  if (to.type != wireup_frame::request && to.type != wireup_frame::reply)
    return "a wireup message of type " + std::to_string(to.type);
  if (errors != peer_failure)
    return "a wireup message of error mode " + std::to_string(errors);
  if (!is_given_number(to.source))
    return "a wireup message from an endpoint " + std::to_string(to.source);
  if (auto why = read_worker_address(words.take(words.left()), true, to.from); !why.empty())
    return "a wireup message with " + why;
  const bool asks = to.type == wireup_frame::request;
  if (asks ? to.target != 0 || to.from.places.empty() : !is_given_number(to.target) || !to.from.places.empty())
    return std::string("a wireup ") + (asks ? "request" : "reply") + " to an endpoint " + std::to_string(to.target)
           + " with " + std::to_string(to.from.places.size()) + " devices";
  return "";
}

} // namespace millrace::access
