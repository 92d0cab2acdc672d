#pragma once

#include "runtime/cluster/credentials.hpp"

#include <caf/actor_system_config.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace millrace::cluster {

/// How this process's actor system behaves towards its peers.
struct actor_options {
  std::uint32_t heartbeat_ms = 200;     ///< how often a peer is told that we live, > 0 (CAF's own default is never)
  std::uint32_t peer_timeout_ms = 2000; ///< silence after which a peer is dead, > heartbeat_ms
  std::uint32_t threads = 2;            ///< for mailboxes only: heavy work has threads of its own
  /// A connection shows the first before anything else; one of them must be shown to this process's ports.
  std::vector<access::key256> keys;
  std::optional<tls_files> tls; ///< set: connections made and accepted through `caf::openssl` are mutual TLS
};

/// CAF's configuration with heartbeats on, the sharing scheduler (0.3 % of a core when idle, against 20 % of work
/// stealing's polling) and, where asked, TLS. The caller adds its message types.
class actor_config : public caf::actor_system_config {
public:
  explicit actor_config(const actor_options& options);
};

} // namespace millrace::cluster
