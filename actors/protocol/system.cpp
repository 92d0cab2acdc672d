#include "actors/protocol/system.hpp"

#include "actors/protocol/caf_address.hpp"
#include "actors/protocol/caf_envelope.hpp"
#include "actors/protocol/refusal_of.hpp"
#include "actors/protocol/wire_types.hpp"
#include "runtime/access/socket_calls.hpp"

#include <caf/actor_system.hpp>
#include <caf/io/middleman.hpp>
#include <caf/openssl/all.hpp>
#include <caf/scoped_actor.hpp>

#include <stdexcept>

namespace millrace::actors {

struct actor_system::parts {
  struct config_with_envelope : cluster::actor_config {
    explicit config_with_envelope(const cluster::actor_options& options) : cluster::actor_config(options) {
      add_envelope(*this);
    }
  };

  explicit parts(const cluster::actor_options& options) : config(options), system(config) {}

  config_with_envelope config;
  caf::actor_system system;
};

actor_system::actor_system(const cluster::actor_options& options) : parts_(std::make_unique<parts>(options)) {
}

actor_system::~actor_system() = default;

address actor_system::start(const std::string& name, actor::setup how) {
  return start_in(parts_->system, name, std::move(how));
}

starter actor_system::how_to_start() {
  return [this](const std::string& name, actor::setup how) { return start(name, std::move(how)); };
}

std::uint16_t actor_system::publish(const address& who, const cluster::endpoint& where, encryption how) {
  auto& system = parts_->system;
  const auto actor = caf::actor_cast<caf::actor>(caf_actor(who));
  const auto guarded_before = access::guarded_ports();
  const auto port = how == encryption::mutual_tls
                        ? caf::openssl::publish(actor, where.port, where.address.c_str())
                        : system.middleman().publish(actor, where.port, where.address.c_str());
  if (!port)
    throw std::runtime_error(system.render(port.error()));
  if (access::guarded_ports() == guarded_before)
    throw std::logic_error("CAF has opened a port that nobody guards");
  return *port;
}

actor_system::found actor_system::find(const cluster::endpoint& where, encryption how) {
  auto& system = parts_->system;
  const auto actor = how == encryption::mutual_tls ? caf::openssl::remote_actor(system, where.address, where.port)
                                                   : system.middleman().remote_actor(where.address, where.port);
  if (!actor)
    return {.who = {}, .why = system.render(actor.error()), .too_slow = actor.error() == caf::sec::connection_timeout};
  return {.who = address_of(caf::actor_cast<caf::strong_actor_ptr>(*actor)), .why = {}};
}

std::pair<envelope, refusal> actor_system::request(const address& whom, envelope what,
                                                   std::chrono::milliseconds deadline) {
  caf::scoped_actor self(parts_->system);
  std::pair<envelope, refusal> result;
  self->request(caf::actor_cast<caf::actor>(caf_actor(whom)), deadline, std::move(what))
      .receive([&](const envelope& answer) { result.first = answer; },
               [&](const caf::error& error) { result.second = refusal_of(error); });
  return result;
}

} // namespace millrace::actors
