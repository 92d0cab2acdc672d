#pragma once

#include "actors/role_instance.hpp"
#include "runtime/cluster/wire.hpp"

#include <caf/typed_actor.hpp>

#include <cstdint>
#include <map>
#include <string>

namespace millrace::actors {

// -- messages -----------------------------------------------------------------

/// Ask the held-out prompts of this version. coordinator -> evaluation.
struct evaluate_version {
  std::uint32_t version = 0;
  transport::ticket parameters; ///< alive until this is answered
};

template <class Inspector>
auto inspect(Inspector& f, evaluate_version& x) {
  return f(caf::meta::type_name("evaluate_version"), x.version, x.parameters);
}

/// Answers `evaluate_version`.
struct version_evaluated {
  std::uint32_t version = 0;
  std::map<std::string, double> figures; ///< "pass@4", "gsm8k/pass@4", ...: see `evaluation_tally`
  std::int64_t tokens = 0;               ///< sampled; the run's ledger does not know them
  double seconds = 0;
};

template <class Inspector>
auto inspect(Inspector& f, version_evaluated& x) {
  return f(caf::meta::type_name("version_evaluated"), x.version, x.figures, x.tokens, x.seconds);
}

// -- protocol -----------------------------------------------------------------

/// Invariants
/// - EV-1: every `evaluate_version` is answered exactly once, by figures or an error, unless this actor dies.
/// - EV-2: the figures are a function of the weights and the role's table: the same rows and seeds every time.
/// - EV-3: generating runs on a thread of its own, at a lower priority; the mailbox is always free.
using evaluation_actor = caf::typed_actor<caf::replies_to<evaluate_version>::with<version_evaluated>>;

} // namespace millrace::actors
