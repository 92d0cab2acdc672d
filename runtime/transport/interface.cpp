#include "runtime/transport/interface.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <memory>
#include <stdexcept>

namespace millrace::transport {

std::string interface_of(const std::string& bind) {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0)
    throw std::runtime_error("cannot list this machine's network interfaces");
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> list(first, ::freeifaddrs);
  std::string known;
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    const int family = entry->ifa_addr == nullptr ? AF_UNSPEC : entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6)
      continue;
    const void* address =
        family == AF_INET ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr)
                          : &reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr;
    char text[INET6_ADDRSTRLEN] = {};
    ::inet_ntop(family, address, text, sizeof text);
    const bool loopback = (entry->ifa_flags & IFF_LOOPBACK) != 0;
    if (bind.empty() ? loopback : bind == entry->ifa_name || bind == text)
      return entry->ifa_name;
    known += (known.empty() ? "" : ", ") + std::string(entry->ifa_name) + " " + text;
  }
  throw std::runtime_error("bind '" + bind + "': want an address or interface of this machine (" + known + ")");
}

} // namespace millrace::transport
