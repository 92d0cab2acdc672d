#pragma once

#include "actors/protocol/system.hpp"
#include "actors/protocol/wire_types.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <optional>
#include <string>
#include <utility>

namespace millrace::tests {

/// An actor system that runs nothing by itself and whose clock stands still: call `run()` and `advance()`. Only for
/// actors that no other thread sends to.
struct deterministic_system {
  struct settings : caf::actor_system_config {
    settings() {
      actors::add_envelope(*this);
      set("scheduler.policy", caf::atom("testing"));
    }
  };

  settings config;
  caf::actor_system system{config};
  caf::scheduler::test_coordinator& scheduler = dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());

  address start(const std::string& name, actors::actor::setup how) {
    return actors::start_in(system, name, std::move(how));
  }

  void run() { scheduler.run(); }

  /// Lets time pass: delayed messages and deadlines of requests come due.
  void advance(caf::timespan time) {
    scheduler.advance_time(time);
    run();
  }
};

/// What a test asked: the answer, or why there is none, once `run()` has brought it.
template <class Answer>
struct asked_answer {
  std::optional<Answer> answer;
  std::optional<actors::refusal> refused;
};

/// A test's own actor in a deterministic system: asks, and keeps the answers.
class asking {
public:
  explicit asking(deterministic_system& system) : system_(system) {
    me_ = system.start("test", [this](actors::actor& self, actors::inbox&) { self_ = &self; });
    system.run();
  }

  ~asking() {
    actors::end_actor(me_);
    system_.run();
  }

  asking(const asking&) = delete;
  asking& operator=(const asking&) = delete;

  template <class Protocol, class Message>
  std::shared_ptr<asked_answer<answer_of<Protocol, Message>>>
  ask(const handle<Protocol>& whom, Message message, std::chrono::milliseconds deadline = std::chrono::hours(1)) {
    using answer = answer_of<Protocol, Message>;
    auto result = std::make_shared<asked_answer<answer>>();
    actors::continue_in(actors::weak_address(me_), [this, whom, message, deadline, result] {
      self_->ask(
          whom, message, deadline, [result](const answer& what) { result->answer = what; },
          [result](const actors::refusal& why) { result->refused = why; });
    });
    system_.run();
    return result;
  }

private:
  deterministic_system& system_;
  actors::actor* self_ = nullptr;
  address me_;
};

} // namespace millrace::tests
