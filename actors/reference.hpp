#pragma once

#include "actors/policy.hpp"

#include <caf/typed_actor.hpp>

#include <cstdint>

namespace millrace::actors {

// -- messages -----------------------------------------------------------------

/// The policy has published a version. coordinator -> reference that follows it.
struct follow_policy {
  std::uint32_t version = 0;
  transport::ticket parameters;
};

template <class Inspector>
auto inspect(Inspector& f, follow_policy& x) {
  return f(caf::meta::type_name("follow_policy"), x.version, x.parameters);
}

/// Answers `follow_policy`: every group handed over from now on is scored with what the version made of the reference.
struct policy_followed {
  std::uint32_t version = 0;
};

template <class Inspector>
auto inspect(Inspector& f, policy_followed& x) {
  return f(caf::meta::type_name("policy_followed"), x.version);
}

// -- protocol -----------------------------------------------------------------

/// The half of a reference that follows the policy; the other half, which adds `ref_logprob`, is a stage. A reference that
/// is kept as it began is a stage alone.
///
/// Invariants
/// - RF-1: versions are followed in order; one that was followed before changes nothing.
/// - RF-2: heavy work, groups among it, runs on one thread, in the order of arrival.
///
/// Dead: one that follows ends the run with a line (its weights are nowhere but in its checkpoint); one that is kept is
/// started again.
using reference_actor = caf::typed_actor<caf::replies_to<follow_policy>::with<policy_followed>,
                                         caf::replies_to<write_checkpoint>::with<checkpoint_written>>;

} // namespace millrace::actors
