#pragma once

#include "runtime/words/listen_address.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace millrace::watch {

struct server_options {
  listen_address at;
  std::string token;                         ///< "": none
  std::size_t connections = 64;              ///< that are no event streams; the oldest makes room
  std::size_t streams = 100;                 ///< event streams
  std::chrono::milliseconds patience{5'000}; ///< for a whole request, and for a reader to take an answer
  std::chrono::milliseconds idle{30'000};    ///< between two requests of a connection
  std::chrono::milliseconds period{400};     ///< between two looks at the run's records
};

/// A run in the browser: serves `/`, `/events`, `/graph.svg`, `/metrics`, `/status.json` and `/healthz` on a thread of
/// its own, which has a lower priority than the run's.
///
/// Invariants
/// - WS-1: the run never waits for it. It reads the files that the run writes, and nobody takes a lock.
/// - WS-2: it holds at most `connections` + `streams` descriptors of others, 8 KiB of a request, and one rendering of
///   the page, which all readers share. A reader that does not take what it asked for is closed.
class server {
public:
  /// Takes the port. @throws input_error in one line if it cannot be had
  explicit server(server_options options);
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// Serves the run from now on. @param folder see `run_reader`; called on the server's thread
  void start(std::function<std::filesystem::path()> folder);

  /// What a browser opens: "http://127.0.0.1:7070/".
  std::string url() const;
  std::uint16_t port() const;

private:
  class state;
  std::shared_ptr<state> state_;
};

} // namespace millrace::watch
