#include "runtime/cluster/endpoint.hpp"

#include "runtime/words/input_error.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace millrace::cluster {
namespace {

/// An address as the system calls take it.
struct socket_address {
  sockaddr_storage bytes{};
  socklen_t size = 0;

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&bytes); }

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&bytes); }
};

/// @returns 0, or an error of getaddrinfo
int look_up(const std::string& name, std::uint16_t port, int flags, socket_address& into, int family) {
  addrinfo hints{};
  hints.ai_family = family;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failed =
      name.empty() ? EAI_NONAME : getaddrinfo(name.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failed != 0)
    return failed;
  std::memcpy(&into.bytes, found->ai_addr, found->ai_addrlen);
  into.size = found->ai_addrlen;
  freeaddrinfo(found);
  return 0;
}

/// A name with addresses of both families: its IPv4 one.
int look_up(const std::string& name, std::uint16_t port, int flags, socket_address& into) {
  return look_up(name, port, flags, into, AF_INET) == 0 ? 0 : look_up(name, port, flags, into, AF_UNSPEC);
}

socket_address address_of(const endpoint& where) {
  socket_address result;
  if (look_up(where.address, where.port, AI_NUMERICHOST, result) != 0)
    throw input_error("'" + where.address + "': want an address such as 10.0.0.2 or fd00::2");
  return result;
}

std::string numbers_of(const socket_address& address) {
  char text[NI_MAXHOST] = {};
  getnameinfo(address.get(), address.size, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  return text;
}

/// A socket that closes itself.
struct socket_holder {
  int fd;

  socket_holder(const socket_address& target, int type) : fd(socket(target.bytes.ss_family, type | SOCK_CLOEXEC, 0)) {}

  ~socket_holder() { close(fd); }

  socket_holder(const socket_holder&) = delete;
  socket_holder& operator=(const socket_holder&) = delete;
};

} // namespace

endpoint parse_endpoint(const std::string& text) {
  const auto wrong = [&](const std::string& why) {
    return input_error("'" + text + "': " + why + ", want HOST:PORT such as 10.0.0.2:7000 or [fd00::2]:7000");
  };
  const auto colon = text.rfind(':');
  const bool bracketed = text.starts_with('[') && colon != std::string::npos && colon > 1 && text[colon - 1] == ']';
  if (colon == std::string::npos || (text.starts_with('[') && !bracketed))
    throw wrong("no port");
  if (!bracketed && text.find(':') != colon)
    throw wrong("more than one colon outside of brackets");
  endpoint result{bracketed ? text.substr(1, colon - 2) : text.substr(0, colon), 0};
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, result.port);
  if (error != std::errc() || stop != end)
    throw wrong("'" + text.substr(colon + 1) + "' is no port");
  socket_address found;
  if (const int failed = look_up(result.address, result.port, 0, found); failed != 0)
    throw wrong("'" + result.address + "' is no address and no name that this host can resolve (" + gai_strerror(failed)
                + ")");
  result.address = numbers_of(found);
  return result;
}

std::string text_of(const endpoint& where) {
  const bool v6 = where.address.find(':') != std::string::npos;
  return (v6 ? '[' + where.address + ']' : where.address) + ':' + std::to_string(where.port);
}

bool reachable(const endpoint& where, double timeout_s) {
  const auto target = address_of(where);
  const socket_holder s(target, SOCK_STREAM | SOCK_NONBLOCK);
  if (connect(s.fd, target.get(), target.size) == 0)
    return true;
  if (errno != EINPROGRESS)
    return false;
  pollfd wait{s.fd, POLLOUT, 0};
  if (poll(&wait, 1, static_cast<int>(timeout_s * 1000)) != 1)
    return false;
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(s.fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

std::string address_towards(const std::string& peer) {
  const auto target = address_of({peer, 9});
  const socket_holder s(target, SOCK_DGRAM);
  if (connect(s.fd, target.get(), target.size) != 0)
    throw input_error("no route to " + peer + ": " + std::strerror(errno));
  socket_address own;
  own.size = sizeof own.bytes;
  if (getsockname(s.fd, own.get(), &own.size) != 0)
    throw input_error("no address towards " + peer + ": " + std::strerror(errno));
  return numbers_of(own);
}

} // namespace millrace::cluster
