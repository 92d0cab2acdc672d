#pragma once

#include "runtime/words/listen_address.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace millrace::watch {

/// What a request shows of itself. "" stands for a field that is missing.
struct request_facts {
  std::string_view method, target, host, origin, authorization, cookie;
};

/// Why a request is turned away: a status of HTTP and one line.
struct refusal {
  int status = 0;
  std::string why;

  bool operator==(const refusal&) const = default;
};

/// Who may ask. It is asked before every route.
///
/// - Only GET and HEAD: nothing can be changed here.
/// - Host must name this listener. A page of somebody else's whose name points here by DNS has another one.
/// - Origin, where a browser sends it, must be the same.
/// - With a token: `Authorization: Bearer TOKEN`, or the cookie that `/?token=TOKEN` sets.
class gate {
public:
  /// @param token "" for none: only on a loopback address
  gate(listen_address own, std::string token) : own_(std::move(own)), token_(std::move(token)) {}

  /// @returns nothing where the request may pass
  std::optional<refusal> refuses(const request_facts& request) const;

  /// Whether the request is `/?token=` with the right token: the browser is given the cookie then.
  bool opens(const request_facts& request) const;

  /// The cookie's field. @pre `opens`
  std::string cookie() const;

private:
  bool names_us(std::string_view host) const;
  bool is_token(std::string_view shown) const;

  listen_address own_;
  std::string token_;
};

} // namespace millrace::watch
