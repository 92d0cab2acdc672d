#include "runtime/workers/web_address.hpp"

#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <charconv>

namespace millrace::workers {
namespace {

[[noreturn]] void refuse(std::string_view text) {
  std::string shown(text.substr(0, 200));
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < ' ' || c >= 0x7f; }, '?');
  throw input_error("found \"" + shown + "\", want http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH");
}

} // namespace

std::string web_address::authority() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  const bool is_usual = port == (secure ? "443" : "80");
  return (is_v6 ? "[" + host + "]" : host) + (is_usual ? "" : ":" + port);
}

web_address web_address_from(std::string_view text) {
  web_address found;
  constexpr std::string_view plain = "http://", secured = "https://";
  found.secure = text.starts_with(secured);
  if (!found.secure && !text.starts_with(plain))
    refuse(text);
  // A space, a control character or a line break would end the request's line early.
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c <= ' ' || c >= 0x7f || c == '#'; }))
    refuse(text);
  auto rest = text.substr(found.secure ? secured.size() : plain.size());
  const auto end = std::min(rest.find_first_of("/?"), rest.size());
  auto place = rest.substr(0, end);
  found.target = rest.substr(end);
  if (!found.target.starts_with('/'))
    found.target.insert(0, "/");
  if (place.find('@') != place.npos)
    refuse(text);
  std::size_t after = 0;
  if (place.starts_with('[')) {
    const auto close = place.find(']');
    if (close == place.npos)
      refuse(text);
    found.host = place.substr(1, close - 1);
    after = close + 1;
  } else {
    after = std::min(place.find(':'), place.size());
    found.host = place.substr(0, after);
  }
  place.remove_prefix(after);
  found.port = found.secure ? "443" : "80";
  if (!place.empty()) {
    int port = 0;
    const auto [at, error] = std::from_chars(place.data() + 1, place.data() + place.size(), port);
    if (place.front() != ':' || error != std::errc() || at != place.data() + place.size() || port < 1 || port > 65535)
      refuse(text);
    found.port = std::to_string(port);
  }
  if (found.host.empty())
    refuse(text);
  return found;
}

} // namespace millrace::workers
