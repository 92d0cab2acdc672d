#include "runtime/transport/interface.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace millrace::transport {
namespace {

struct interface_address {
  std::string name;
  std::string address;
  bool loopback = false;
  bool up = false; ///< and running
};

std::vector<interface_address> interface_addresses() {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0)
    throw std::runtime_error("cannot list this machine's network interfaces");
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> list(first, ::freeifaddrs);
  std::vector<interface_address> found;
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    const int family = entry->ifa_addr == nullptr ? AF_UNSPEC : entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6)
      continue;
    const void* address =
        family == AF_INET ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr)
                          : &reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr;
    char text[INET6_ADDRSTRLEN] = {};
    ::inet_ntop(family, address, text, sizeof text);
    constexpr unsigned up = IFF_UP | IFF_RUNNING;
    found.push_back({entry->ifa_name, text, (entry->ifa_flags & IFF_LOOPBACK) != 0, (entry->ifa_flags & up) == up});
  }
  return found;
}

} // namespace

std::string interfaces_in_words() {
  std::string known;
  for (const auto& one : interface_addresses())
    known += (known.empty() ? "" : ", ") + one.name + " " + one.address;
  return known;
}

namespace {

interface_address meant_by(const std::string& bind) {
  for (const auto& one : interface_addresses())
    if (bind.empty() ? one.loopback : bind == one.name || bind == one.address)
      return one;
  throw std::runtime_error("bind '" + bind + "': want an address or interface of this machine (" + interfaces_in_words()
                           + ")");
}

} // namespace

std::string interface_of(const std::string& bind) {
  return meant_by(bind).name;
}

bool wait_until_up(const std::string& bind, std::chrono::milliseconds within) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  while (!meant_by(bind).up) {
    if (std::chrono::steady_clock::now() >= deadline)
      return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20)); // between two looks
  }
  return true;
}

} // namespace millrace::transport
