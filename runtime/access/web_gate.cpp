#include "runtime/access/web_gate.hpp"

#include "runtime/words/input_error.hpp"

#include <openssl/crypto.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <iterator>

namespace millrace::access {
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

bool web_gate::names_us(std::string_view host) const {
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

bool web_gate::is_token(std::string_view shown) const {
  return shown.size() == token_.size() && ::CRYPTO_memcmp(shown.data(), token_.data(), shown.size()) == 0;
}

std::optional<web_refusal> web_gate::refuses(const request_facts& request) const {
  const bool pages = face_ == web_face::pages;
  if (request.method != "GET" && request.method != (pages ? "HEAD" : "POST"))
    return web_refusal{405, pages ? "want GET or HEAD" : "want GET or POST"};
  if (!names_us(request.host))
    return web_refusal{421, "Host names another server"};
  if (!request.origin.empty() && request.origin != "http://" + std::string(request.host))
    return web_refusal{403, "Origin is another site"};
  if (token_.empty() || opens(request))
    return std::nullopt;
  const auto& shown = request.authorization;
  if (shown.starts_with(bearer) ? is_token(shown.substr(bearer.size()))
                                : pages && is_token(cookie_value(request.cookie)))
    return std::nullopt;
  return web_refusal{401, pages ? "want the token: open /?token=TOKEN, or send Authorization: Bearer TOKEN"
                                : "want the token: Authorization: Bearer TOKEN"};
}

bool web_gate::opens(const request_facts& request) const {
  return face_ == web_face::pages && !token_.empty() && request.target.starts_with(opening)
         && is_token(request.target.substr(opening.size()));
}

std::string web_gate::cookie() const {
  return std::string(cookie_name) + token_ + "; HttpOnly; SameSite=Strict; Path=/";
}

std::string read_token(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in)
    throw input_error(file.string() + ": cannot be read, want a token");
  std::string token(std::istreambuf_iterator<char>(in), {});
  while (token.ends_with('\n') || token.ends_with('\r'))
    token.pop_back();
  const bool is_plain = std::ranges::all_of(
      token, [](unsigned char c) { return c < 0x80 && (std::isalnum(c) || c == '-' || c == '_' || c == '.'); });
  if (!is_plain || token.size() < 16 || token.size() > 256)
    throw input_error(file.string() + ": want a token of 16 to 256 letters, digits, '-', '_' and '.'");
  return token;
}

} // namespace millrace::access
