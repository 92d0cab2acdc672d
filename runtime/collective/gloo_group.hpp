#pragma once

#include "runtime/access/key.hpp"
#include "runtime/collective/group.hpp"
#include "runtime/collective/rendezvous.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace millrace::collective {

struct gloo_options {
  int rank = 0;
  int size = 1;
  std::string host = "127.0.0.1";       ///< address of this host that the others reach
  std::array<std::uint16_t, 2> ports{}; ///< first and last that it may listen on; 0 and 0: any that is free
  access::key256 key{};                 ///< without a proof that one has it, nobody is connected
  std::chrono::milliseconds connect_deadline{60'000};
  std::chrono::milliseconds exchange_deadline{600'000};
};

/// Connects the ranks to one group over TCP. Blocks until all are connected. An abort of the rendezvous ends it at
/// once.
///
/// The group listens on one port. Destroying it takes some 10 ms whatever the others do, and waits for nobody.
/// @throws lost @throws std::exception if `host` is no address of this host
std::unique_ptr<group> connect_gloo(const gloo_options& options, std::shared_ptr<rendezvous> words);

} // namespace millrace::collective
