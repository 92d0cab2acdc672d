#pragma once

#include "actors/role_instance.hpp"
#include "actors/source.hpp"
#include "runtime/cluster/wire.hpp"

#include <caf/typed_actor.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace millrace::actors {

// -- messages -----------------------------------------------------------------

/// Starts a group: one prompt, n answers. coordinator -> rollout, or demonstrations in its place.
struct generate_group {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;        ///< counts starts of this group
  std::vector<chat_turn> prompt;
  std::int32_t answers = 1;
  std::uint64_t seed = 0;           ///< of the group; the same at every attempt
  std::vector<std::vector<chat_turn>> demonstrations; ///< of the row: for a role of that kind
  double margin = 0;                ///< of the row
  transport::ticket partial = {};   ///< of what an earlier attempt has (`group_interrupted`): it goes on there; id 0: none
  std::int32_t started = 0;         ///< answers that are begun, of which the `answers` shortest are kept; fewer: all are kept
};

template <class Inspector>
auto inspect(Inspector& f, generate_group& x) {
  return f(caf::meta::type_name("generate_group"), x.group, x.attempt, x.prompt, x.answers, x.seed, x.demonstrations,
           x.margin, x.partial, x.started);
}

/// Answers `generate_group`: the group waits for slots or has them, and has its own copy of `partial`.
struct group_accepted {
  std::uint64_t group = 0;
  std::int64_t prompt_tokens = 0;
  std::string lost = {}; ///< not empty: `partial` could not be had, and why; the group is not accepted
};

template <class Inspector>
auto inspect(Inspector& f, group_accepted& x) {
  return f(caf::meta::type_name("group_accepted"), x.group, x.prompt_tokens, x.lost);
}

/// Forgets a group. coordinator -> rollout.
struct cancel_group {
  std::uint64_t group = 0;
};

template <class Inspector>
auto inspect(Inspector& f, cancel_group& x) {
  return f(caf::meta::type_name("cancel_group"), x.group);
}

/// Stops a group and keeps what it has. coordinator -> rollout. Answered by `group_interrupted`, unless `group_generated`
/// is on its way.
struct interrupt_group {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
};

template <class Inspector>
auto inspect(Inspector& f, interrupt_group& x) {
  return f(caf::meta::type_name("interrupt_group"), x.group, x.attempt);
}

/// What a group had when it was stopped. rollout -> coordinator.
struct group_interrupted {
  role_instance from;
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  transport::ticket partial; ///< for `generate_group`; id 0: no answer had begun
  std::map<std::uint32_t, std::int64_t> tokens; ///< of all answers that were begun, by the version that sampled them
};

template <class Inspector>
auto inspect(Inspector& f, group_interrupted& x) {
  return f(caf::meta::type_name("group_interrupted"), x.from, x.group, x.attempt, x.partial, x.tokens);
}

/// A group's answers are complete. rollout -> coordinator.
struct group_generated {
  role_instance from;
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  transport::ticket columns;        ///< those that `columns_of` lists
  std::map<std::uint32_t, std::int64_t> tokens; ///< answer tokens of all answers that are kept by the version that sampled them
  double prefill_s = 0;             ///< time the engine spent on this group's prompt
  std::int64_t baseline_tokens = 0; ///< of the greedy answer beside them, which is not trained
  std::map<std::uint32_t, std::int64_t> answers = {}; ///< tokens of whole answers by the oldest version in each
  std::int64_t surplus_tokens = 0;  ///< of answers that were begun and are not kept; in none of the others
};

template <class Inspector>
auto inspect(Inspector& f, group_generated& x) {
  return f(caf::meta::type_name("group_generated"), x.from, x.group, x.attempt, x.columns, x.tokens, x.prefill_s,
           x.baseline_tokens, x.answers, x.surplus_tokens);
}

/// A new version's parameters can be pulled. coordinator -> rollout. Answered when tokens are sampled from them.
struct new_weights {
  std::uint32_t version = 0;
  transport::ticket parameters;
  bool in_flight = true; ///< flip between two decode steps; false: when no group of the old version runs
};

template <class Inspector>
auto inspect(Inspector& f, new_weights& x) {
  return f(caf::meta::type_name("new_weights"), x.version, x.parameters, x.in_flight);
}

/// Answers `new_weights`.
struct weights_live {
  std::uint32_t version = 0;
  double pull_s = 0;  ///< until the bytes were here
  double stage_s = 0; ///< until they were laid out for the kernels, beside decoding
};

template <class Inspector>
auto inspect(Inspector& f, weights_live& x) {
  return f(caf::meta::type_name("weights_live"), x.version, x.pull_s, x.stage_s);
}

// -- protocol -----------------------------------------------------------------

/// Invariants
/// - RO-1: every accepted group ends in exactly one `group_generated`, or one `group_interrupted` if it was interrupted,
///   unless cancelled or this actor dies.
/// - RO-2: an answer depends on its group's seed and the weights of each of its tokens alone, not on what else is decoded
///   nor on where.
///   Nor do slots or timing choose which answers of a group are kept (`rollout::engine`).
/// - RO-3: versions rise: a `new_weights` older than the one staged is answered with the newer one.
/// - RO-4: decoding and staging run on threads of their own; the mailbox is always free.
using rollout_actor = caf::typed_actor<caf::replies_to<generate_group>::with<group_accepted>, caf::reacts_to<cancel_group>,
                                       caf::reacts_to<interrupt_group>,
                                       caf::replies_to<new_weights>::with<weights_live>>;

} // namespace millrace::actors
