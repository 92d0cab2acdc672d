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

sockaddr_in socket_address(const endpoint& where) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(where.port);
  if (inet_pton(AF_INET, where.address.c_str(), &result.sin_addr) != 1)
    throw input_error("'" + where.address + "': want an IPv4 address such as 10.0.0.2");
  return result;
}

/// A socket that closes itself.
struct socket_holder {
  int fd;

  explicit socket_holder(int type) : fd(socket(AF_INET, type | SOCK_CLOEXEC, 0)) {}

  ~socket_holder() { close(fd); }

  socket_holder(const socket_holder&) = delete;
  socket_holder& operator=(const socket_holder&) = delete;
};

/// The first IPv4 address of a name. @param wrong makes the error
template <class Wrong>
std::string resolved(const std::string& name, const Wrong& wrong) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = name.empty() ? EAI_NONAME : getaddrinfo(name.c_str(), nullptr, &hints, &found);
  if (failed != 0)
    throw wrong("'" + name + "' is no IPv4 address and no name that this host can resolve (" + gai_strerror(failed)
                + ")");
  char text[INET_ADDRSTRLEN] = {};
  inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(found->ai_addr)->sin_addr, text, sizeof text);
  freeaddrinfo(found);
  return text;
}

} // namespace

endpoint parse_endpoint(const std::string& text) {
  const auto colon = text.rfind(':');
  const auto wrong = [&](const std::string& why) {
    return input_error("'" + text + "': " + why + ", want HOST:PORT such as 10.0.0.2:7000");
  };
  if (colon == std::string::npos)
    throw wrong("no port");
  endpoint result{text.substr(0, colon), 0};
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, result.port);
  if (error != std::errc() || stop != end)
    throw wrong("'" + text.substr(colon + 1) + "' is no port");
  in_addr parsed{};
  if (inet_pton(AF_INET, result.address.c_str(), &parsed) != 1)
    result.address = resolved(result.address, wrong);
  return result;
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.");
}

bool reachable(const endpoint& where, double timeout_s) {
  const socket_holder s(SOCK_STREAM | SOCK_NONBLOCK);
  const auto target = socket_address(where);
  if (connect(s.fd, reinterpret_cast<const sockaddr*>(&target), sizeof target) == 0)
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
  const socket_holder s(SOCK_DGRAM);
  const auto target = socket_address({peer, 9});
  if (connect(s.fd, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0)
    throw input_error("no route to " + peer + ": " + std::strerror(errno));
  sockaddr_in own{};
  socklen_t size = sizeof own;
  char text[INET_ADDRSTRLEN] = {};
  if (getsockname(s.fd, reinterpret_cast<sockaddr*>(&own), &size) != 0
      || !inet_ntop(AF_INET, &own.sin_addr, text, sizeof text))
    throw input_error("no address towards " + peer + ": " + std::strerror(errno));
  return text;
}

} // namespace millrace::cluster
