#pragma once

#include "runtime/words/address.hpp"

#include <caf/actor_control_block.hpp>

#include <memory>

namespace millrace::actors {

/// An address is the actor's control block, which it keeps alive.
inline address address_of(caf::strong_actor_ptr who) {
  if (!who)
    return {};
  auto* block = who.get();
  return address(std::shared_ptr<const void>(block, [keep = std::move(who)](const void*) mutable { keep = nullptr; }));
}

inline caf::strong_actor_ptr caf_actor(const address& who) {
  return caf::strong_actor_ptr(static_cast<caf::actor_control_block*>(const_cast<void*>(who.where())));
}

} // namespace millrace::actors
