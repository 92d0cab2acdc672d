#pragma once

#include "actors/message_types.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scheduler/test_coordinator.hpp>

namespace millrace::tests {

/// An actor system that runs nothing by itself and whose clock stands still: call `run()` and `advance()`. Only for actors
/// that no other thread sends to.
struct deterministic_system {
  struct settings : caf::actor_system_config {
    settings() {
      actors::add_message_types(*this);
      set("scheduler.policy", caf::atom("testing"));
    }
  };

  settings config;
  caf::actor_system system{config};
  caf::scheduler::test_coordinator& scheduler = dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());

  void run() { scheduler.run(); }

  /// Lets time pass: delayed messages and deadlines of requests come due.
  void advance(caf::timespan time) {
    scheduler.advance_time(time);
    run();
  }
};

} // namespace millrace::tests
