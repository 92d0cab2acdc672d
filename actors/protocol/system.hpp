#pragma once

#include "actors/protocol/actor.hpp"
#include "runtime/cluster/actor_config.hpp"
#include "runtime/cluster/endpoint.hpp"

#include <caf/fwd.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <variant>

namespace millrace::actors {

/// Whether a connection between processes is mutual TLS.
enum class encryption { none, mutual_tls };

/// The actors of this process, and its connections to those of others.
class actor_system {
public:
  explicit actor_system(const cluster::actor_options& options);
  ~actor_system(); ///< waits until every actor has ended
  actor_system(const actor_system&) = delete;
  actor_system& operator=(const actor_system&) = delete;

  address start(const std::string& name, actor::setup how);

  starter how_to_start();

  /// Lets processes that hold one of the options' keys find an actor. @param where port 0: any that is free
  /// @returns the port @throws std::runtime_error with the system's own words
  std::uint16_t publish(const address& who, const cluster::endpoint& where, encryption how);

  /// Connects to the actor that a process published. @returns an empty address and why, in the system's own words
  struct found {
    address who;
    std::string why;
    bool too_slow = false; ///< somebody took the connection and did not answer in time
  };

  found find(const cluster::endpoint& where, encryption how);

  /// Asks from a thread that is no actor, and waits.
  template <class Protocol, class Message>
  std::variant<answer_of<Protocol, Message>, refusal> ask_and_wait(const handle<Protocol>& whom, Message message,
                                                                   std::chrono::milliseconds deadline) {
    auto [what, why] = request(whom, envelope::of(std::move(message)), deadline);
    if (const auto* answer = what.template as<answer_of<Protocol, Message>>())
      return *answer;
    return why;
  }

private:
  std::pair<envelope, refusal> request(const address& whom, envelope what, std::chrono::milliseconds deadline);

  struct parts;
  std::unique_ptr<parts> parts_;
};

/// Starts an actor in a system that somebody else has set up (the tests' deterministic one).
address start_in(caf::actor_system& system, const std::string& name, actor::setup how);

} // namespace millrace::actors
