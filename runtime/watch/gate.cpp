#include "runtime/watch/gate.hpp"

#include <openssl/crypto.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace millrace::watch {
namespace {

constexpr std::string_view bearer = "Bearer ", cookie_name = "millrace_token=", opening = "/?token=";

/// The cookie of that name among "a=1; b=2".
std::string_view cookie_value(std::string_view cookies) {
  while (!cookies.empty()) {
    const auto end = std::min(cookies.find(';'), cookies.size());
    const auto one = cookies.substr(0, end);
    if (one.starts_with(cookie_name))
      return one.substr(cookie_name.size());
    cookies.remove_prefix(std::min(end + 1, cookies.size()));
    while (cookies.starts_with(' '))
      cookies.remove_prefix(1);
  }
  return {};
}

/// Nothing, or ":" and a number. Which number is open: the port may be forwarded.
bool is_port(std::string_view text) {
  return text.empty()
         || (text.starts_with(':') && text.size() > 1 && text.size() <= 6
             && text.find_first_not_of("0123456789", 1) == std::string_view::npos);
}

std::string own_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

} // namespace

bool gate::names_us(std::string_view host) const {
  const auto port =
      std::min(host.find(':', host.starts_with('[') ? std::min(host.find(']'), host.size()) : 0), host.size());
  if (!is_port(host.substr(port)))
    return false;
  const auto name = host.substr(0, port);
  const auto address = parse_listen_address(std::string(name) + ":1");
  if (name == "localhost" || (address && own_.is_loopback() && address->is_loopback()))
    return true;
  if (own_.is_loopback())
    return false;
  // Whoever comes over a network shows a token besides. The address may be 0.0.0.0, or behind a port of a container.
  return address.has_value() || name == own_name();
}

bool gate::is_token(std::string_view shown) const {
  return shown.size() == token_.size() && ::CRYPTO_memcmp(shown.data(), token_.data(), shown.size()) == 0;
}

std::optional<refusal> gate::refuses(const request_facts& request) const {
  if (request.method != "GET" && request.method != "HEAD")
    return refusal{405, "want GET or HEAD"};
  if (!names_us(request.host))
    return refusal{421, "Host names another server"};
  if (!request.origin.empty() && request.origin != "http://" + std::string(request.host))
    return refusal{403, "Origin is another site"};
  if (token_.empty() || opens(request))
    return std::nullopt;
  const auto& shown = request.authorization;
  if (shown.starts_with(bearer) ? is_token(shown.substr(bearer.size())) : is_token(cookie_value(request.cookie)))
    return std::nullopt;
  return refusal{401, "want the token: open /?token=TOKEN, or send Authorization: Bearer TOKEN"};
}

bool gate::opens(const request_facts& request) const {
  return !token_.empty() && request.target.starts_with(opening) && is_token(request.target.substr(opening.size()));
}

std::string gate::cookie() const {
  return std::string(cookie_name) + token_ + "; HttpOnly; SameSite=Strict; Path=/";
}

} // namespace millrace::watch
