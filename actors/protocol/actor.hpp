#pragma once

#include "actors/protocol/inbox.hpp"
#include "runtime/messages/protocol.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace millrace::actors {

/// Why a request has no answer.
struct refusal {
  std::string line;          ///< for people
  bool by_the_asked = false; ///< who was asked said so; false: the way there is at fault (a deadline, a dead process)
};

/// An address that does not keep its actor alive.
class weak_address {
public:
  weak_address() = default;
  explicit weak_address(const address& of);

  /// @returns nothing once the actor is gone
  address lock() const;

private:
  std::shared_ptr<const void> where_;
};

// -- from any thread -------------------------------------------------------------------------------------------------

void post(const address& to, envelope what);

/// Sends a message that is not answered.
template <class Protocol, class Message>
void tell(const handle<Protocol>& to, Message message) {
  static_assert(may_be_told<Protocol, Message>, "this protocol takes no such message");
  post(to, envelope::of(std::move(message)));
}

/// Runs `rest` in the actor's own context, after the messages that are there already. Dropped if the actor is gone, or
/// lives in another process.
void continue_in(const weak_address& actor, std::function<void()> rest);

/// Ends an actor.
void end_actor(const address& who);

// -- inside an actor -------------------------------------------------------------------------------------------------

/// What an actor's own code can do, in the actor's own context only. Its messages arrive in the inbox that it was
/// started with, one after another.
class actor {
public:
  /// Sets up a new actor: keeps what it needs in the handlers that it puts into the inbox.
  using setup = std::function<void(actor& self, inbox& in)>;

  virtual ~actor() = default;

  virtual address me() = 0;

  weak_address weak() { return weak_address(me()); }

  /// Asks and takes the answer: exactly one of the two is called, here, within the deadline.
  template <class Protocol, class Message, class Answered>
  void ask(const handle<Protocol>& whom, Message message, std::chrono::milliseconds deadline, Answered answered,
           std::function<void(const refusal&)> refused) {
    using answer = answer_of<Protocol, Message>;
    send_request(
        whom, envelope::of(std::move(message)), deadline,
        [answered = std::move(answered)](const envelope& what) mutable { answered(*what.as<answer>()); },
        typeid(answer), std::move(refused));
  }

  virtual void after(std::chrono::milliseconds time, std::function<void()> then) = 0;

  /// Calls `gone` once when the other actor ends or its process is declared dead.
  virtual void watch(const address& who, std::function<void()> gone) = 0;

  /// Starts an actor beside this one.
  virtual address start(const std::string& name, setup how) = 0;

  /// Ends this actor after the message at hand: its inbox is emptied, and what its handlers kept is let go.
  virtual void quit() = 0;

private:
  virtual void send_request(const address& whom, envelope what, std::chrono::milliseconds deadline,
                            std::function<void(const envelope&)> answered, std::type_index wanted,
                            std::function<void(const refusal&)> refused) = 0;
};

/// Starts actors from any thread.
using starter = std::function<address(const std::string& name, actor::setup how)>;

} // namespace millrace::actors
