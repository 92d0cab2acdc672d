#include "runtime/words/listen_address.hpp"

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

} // namespace

std::optional<listen_address> parse_listen_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == text.size())
    return std::nullopt;
  const auto port = number_up_to(text.substr(colon + 1), 65535);
  const auto host = text.substr(0, colon) == "localhost" ? "127.0.0.1" : text.substr(0, colon);
  if (!port || !is_dotted(host))
    return std::nullopt;
  return listen_address{std::string(host), static_cast<std::uint16_t>(*port)};
}

} // namespace millrace
