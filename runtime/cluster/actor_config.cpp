#include "runtime/cluster/actor_config.hpp"

#include "runtime/access/socket_calls.hpp"
#include "runtime/cluster/tls_error_queue.hpp"

#include <caf/atom.hpp>
#include <caf/io/middleman.hpp>
#include <caf/openssl/manager.hpp>
#include <caf/timespan.hpp>

#include <chrono>

namespace millrace::cluster {

actor_config::actor_config(const actor_options& options) {
  load<caf::io::middleman>();
  set("scheduler.policy", caf::atom("sharing"));
  set("scheduler.max-threads", static_cast<std::size_t>(options.threads));
  set("middleman.workers", std::size_t{0}); // whoever reads a message from its socket deserializes it: one thread less
  set("middleman.heartbeat-interval", caf::timespan(std::chrono::milliseconds(options.heartbeat_ms)));
  set("middleman.connection-timeout", caf::timespan(std::chrono::milliseconds(options.peer_timeout_ms)));
  if (!options.keys.empty())
    access::guard_actors(options.keys);
  if (options.tls) {
    keep_tls_errors_apart();
    load<caf::openssl::manager>();
    openssl_certificate = options.tls->certificate.string();
    openssl_key = options.tls->key.string();
    openssl_cafile = options.tls->ca.string();
  }
}

} // namespace millrace::cluster
