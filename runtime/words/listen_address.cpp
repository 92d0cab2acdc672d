#include "runtime/words/listen_address.hpp"

#include <netdb.h>

#include <array>
#include <charconv>

namespace millrace {
namespace {

/// The whole of `text` as a number of at most `most`.
std::optional<int> number_up_to(std::string_view text, int most) {
  int value = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || text.front() == '-' || value > most)
    return std::nullopt;
  return value;
}

bool is_dotted(std::string_view host) {
  int parts = 0;
  for (bool more = true; more; ++parts) {
    const auto dot = host.find('.');
    const auto part = host.substr(0, dot);
    if (part.empty() || part.size() > 3 || !number_up_to(part, 255))
      return false;
    more = dot != std::string_view::npos;
    host.remove_prefix(more ? dot + 1 : host.size());
  }
  return parts == 4;
}

/// The address in brackets in its shortest form. @returns "" for any other text
std::string ip6_in(std::string_view brackets) {
  if (brackets.size() < 2 || brackets.front() != '[' || brackets.back() != ']'
      || brackets.find('%') != std::string_view::npos) // a zone: the address means something on one link only
    return {};
  addrinfo wanted{};
  wanted.ai_family = AF_INET6;
  wanted.ai_flags = AI_NUMERICHOST; // asks nobody for names
  addrinfo* found = nullptr;
  const std::string address(brackets.substr(1, brackets.size() - 2));
  if (::getaddrinfo(address.c_str(), nullptr, &wanted, &found) != 0)
    return {};
  std::array<char, 64> text{};
  const bool told =
      ::getnameinfo(found->ai_addr, found->ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) == 0;
  ::freeaddrinfo(found);
  return told ? text.data() : "";
}

} // namespace

std::optional<listen_address> parse_listen_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == text.size())
    return std::nullopt;
  const auto port = number_up_to(text.substr(colon + 1), 65535);
  const auto host = text.substr(0, colon) == "localhost" ? "127.0.0.1" : text.substr(0, colon);
  if (!port)
    return std::nullopt;
  if (const auto ip6 = ip6_in(host); !ip6.empty())
    return listen_address{ip6, static_cast<std::uint16_t>(*port)};
  if (!is_dotted(host))
    return std::nullopt;
  return listen_address{std::string(host), static_cast<std::uint16_t>(*port)};
}

} // namespace millrace
