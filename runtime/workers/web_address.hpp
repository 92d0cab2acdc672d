#pragma once

#include <string>
#include <string_view>

namespace millrace::workers {

/// The parts of http://HOST[:PORT][/PATH] or https://...
struct web_address {
  bool secure = false; ///< https
  std::string host;    ///< a name or an address, an IPv6 address without its brackets
  std::string port;    ///< digits; as written, or the scheme's
  std::string target;  ///< "/" and what follows, with the query

  /// What the field Host of a request says.
  std::string authority() const;

  bool operator==(const web_address&) const = default;
};

/// @throws input_error "found X, want ..." for another scheme, a name and password, a fragment, or no host
web_address web_address_from(std::string_view text);

} // namespace millrace::workers
