#pragma once

#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/send.hpp>

#include <functional>

namespace millrace::actors {

/// The rest of an actor's work after something that ran on another thread: sent by that thread, run by the actor in its
/// own context. Never leaves the process.
struct continuation {
  std::function<void()> run;
};

/// Runs `rest` in the context of `actor`, whose behaviour must take `continuation`; dropped if the actor is gone.
template <class Handle>
void continue_in(const Handle& actor, std::function<void()> rest) {
  caf::anon_send(actor, continuation{std::move(rest)});
}

} // namespace millrace::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::actors::continuation)
