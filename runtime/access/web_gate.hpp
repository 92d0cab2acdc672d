#pragma once

#include "runtime/words/listen_address.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::access {

/// What a request shows of itself. "" stands for a field that is missing.
struct request_facts {
  std::string_view method, target, host, origin, authorization, cookie;
};

/// Why a request is turned away: a status of HTTP and one line.
struct web_refusal {
  int status = 0;
  std::string why;

  bool operator==(const web_refusal&) const = default;
};

/// What a listener serves.
enum class web_face : std::uint8_t {
  pages, ///< to browsers: only GET and HEAD, nothing can be changed; the token may be a cookie that `/?token=TOKEN`
         ///< sets
  api,   ///< to programs: GET and POST, the token in `Authorization`
};

/// Who may ask. It is asked before every route.
///
/// - Host must name this listener. A page of somebody else's whose name points here by DNS has another one.
/// - Origin, where a browser sends it, must be the same.
/// - With a token: `Authorization: Bearer TOKEN`.
class web_gate {
public:
  /// @param token "" for none: only on a loopback address
  web_gate(listen_address own, std::string token, web_face face = web_face::pages)
      : own_(std::move(own)), token_(std::move(token)), face_(face) {}

  /// @returns nothing where the request may pass
  std::optional<web_refusal> refuses(const request_facts& request) const;

  /// Whether the request is `/?token=` with the right token: the browser is given the cookie then. Pages alone.
  bool opens(const request_facts& request) const;

  /// The cookie's field. @pre `opens`
  std::string cookie() const;

private:
  bool names_us(std::string_view host) const;
  bool is_token(std::string_view shown) const;

  listen_address own_;
  std::string token_;
  web_face face_;
};

/// The token in a file, without the line's end. @throws input_error if it cannot be read, or holds none of 16 to 256
/// letters, digits, '-', '_' and '.'
std::string read_token(const std::filesystem::path& file);

} // namespace millrace::access
