#pragma once

#include "runtime/endpoint/answering.hpp"
#include "runtime/words/listen_address.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace millrace::endpoint {

struct server_options {
  listen_address at;
  std::string token;                          ///< "": none
  std::size_t connections = 512;              ///< more are told to come again
  std::size_t longest_body = 8 << 20;         ///< bytes of a request
  std::size_t longest_unread = 4 << 20;       ///< bytes of a stream that its reader has not taken: then it is closed
  std::chrono::milliseconds patience{30'000}; ///< for a whole request, and for a reader to take what is sent
  std::chrono::milliseconds idle{60'000};     ///< between two requests of a connection
};

/// Serves `/v1/models`, `/v1/chat/completions`, `/v1/completions` and `/health` on a thread of its own.
///
/// Invariants
/// - EP-1: a client that goes away costs at most the step that is being computed: its answers are dropped.
/// - EP-2: whatever clients do, it holds at most `connections` times a request and what a reader has not taken.
class server {
public:
  /// Takes the port. @param model, from outlive it @throws input_error in one line if the port cannot be had
  server(server_options options, const served_model& model, generation& from);
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// "http://127.0.0.1:8000"
  std::string url() const;
  std::uint16_t port() const;
  std::size_t connections() const; ///< that are open. Any thread

private:
  class state;
  std::unique_ptr<state> state_;
};

} // namespace millrace::endpoint
