#pragma once

#include "runtime/access/data_ledger.hpp"
#include "runtime/access/key.hpp"
#include "runtime/access/refusals.hpp"

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace millrace::access {

/// Puts a `guarded_port` in front of every port that CAF, UCX or Gloo opens, and a proof before every byte that they
/// send.
///
/// None of them can be given a connection that somebody else has accepted. But all call the C library's bind, listen,
/// accept, connect and getsockname, and the program's symbols come before a library's. So these five are ours. `bind`
/// takes a port whose earlier connections the kernel still remembers: those of a process that has just died. `listen`
/// keeps the real socket for a guarded port, or one of a range of ports where Gloo would take any, and leaves the
/// library one end of a line in its place; `accept` takes proven connections from the line; `getsockname` names the
/// real socket; `connect` waits for the connection and sends the proof. Calls of everybody else go through untouched.
///
/// What is set here is checked by its effect: after a library has opened a port, ask `guarded_ports`.

/// Keys of the connections that CAF makes and takes in this process. @param keys the first is shown, each is accepted
void guard_actors(std::vector<key256> keys);

/// The key of the connections that UCX makes and takes on this thread, while this object lives.
class guard_data {
public:
  /// @param ledger one for all connections of a data plane; null: what stands inside frames is not judged, since its
  /// format is not known
  explicit guard_data(const key256& key, std::shared_ptr<data_ledger> ledger = nullptr);
  ~guard_data();
  guard_data(const guard_data&) = delete;
  guard_data& operator=(const guard_data&) = delete;

  const key256& key() const { return key_; }

  const std::shared_ptr<data_ledger>& ledger() const { return ledger_; }

private:
  key256 key_;
  std::shared_ptr<data_ledger> ledger_;
  guard_data* before_;
};

/// The key of the connections that Gloo, inside LibTorch, makes and takes on this thread, while this object lives.
/// Gloo's own thread makes none.
class guard_ranks {
public:
  /// @param ports first and last port that Gloo may listen on; 0 and 0: any that is free
  explicit guard_ranks(const key256& key, std::array<std::uint16_t, 2> ports = {});
  ~guard_ranks();
  guard_ranks(const guard_ranks&) = delete;
  guard_ranks& operator=(const guard_ranks&) = delete;

  const key256& key() const { return key_; }

  const std::array<std::uint16_t, 2>& ports() const { return ports_; }

  /// Where the last port listens that was opened here. @returns nothing if none was
  const std::optional<sockaddr_storage>& port() const { return port_; }

  void opened(const sockaddr_storage& port) { port_ = port; }

private:
  key256 key_;
  std::array<std::uint16_t, 2> ports_;
  std::optional<sockaddr_storage> port_;
  guard_ranks* before_;
};

/// How many guarded ports this process has opened so far.
std::uint64_t guarded_ports();

/// Who is told of connections that were turned away; called on a thread of its own. Nobody at first.
void tell_refusals(refusals::teller tell);

} // namespace millrace::access
