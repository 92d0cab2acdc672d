#pragma once

#include "runtime/workers/web_address.hpp"
#include "runtime/workers/worker_process.hpp"

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

namespace millrace::workers {

/// A question that a server did not answer.
struct web_failure : worker_failure {
  web_failure(failure_kind why, const std::string& line, bool again) : worker_failure(why, line), worth_asking(again) {}

  bool worth_asking; ///< another try may go better: the server was away, busy, or broke off
};

/// Whom a client asks, and how it shows who it is.
struct web_server {
  web_address address;
  std::string token;             ///< sent as a bearer token; "" = none
  std::filesystem::path ca_file; ///< certificates that vouch for an https server; empty = those of the system
};

/// Asks one server, over connections that it keeps for the next question. Follows no redirect. Thread-safe.
class web_client {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// @throws input_error if `ca_file` holds no certificate
  explicit web_client(web_server server);
  ~web_client();
  web_client(const web_client&) = delete;
  web_client& operator=(const web_client&) = delete;

  /// Posts JSON. @returns the body of the answer, of at most `longest_answer` bytes
  /// @throws web_failure: timeout; refused (nobody listens, no certificate that can be verified, an answer of 3xx or
  ///         4xx); crash (5xx, or the connection broke before an answer); malformed (no HTTP, half an answer, too long)
  std::string post(const std::string& body, time_point until);

  /// Connects, so that a server which is not there is found before anything is asked. @throws as `post`
  void connect(time_point until);

  /// What is asked now or later fails at once. Any thread.
  void close();

  static constexpr std::size_t longest_answer = std::size_t{16} << 20; ///< bytes

private:
  struct connection;
  struct state;
  class in_use;
  std::unique_ptr<connection> opened(time_point until);
  void keep(std::unique_ptr<connection> healthy);

  std::unique_ptr<state> state_;
};

/// The bearer token that a file holds. @throws input_error where others than its owner and group may read it, or it
/// holds none that a header can carry
std::string bearer_token(const std::filesystem::path& file);

} // namespace millrace::workers
