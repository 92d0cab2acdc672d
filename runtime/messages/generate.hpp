#pragma once

#include "runtime/messages/episodes.hpp"
#include "runtime/words/role_instance.hpp"
#include "runtime/words/ticket.hpp"

#include <cstdint>
#include <map>
#include <string>

namespace millrace {

/// Starts a group: one prompt, n answers. coordinator -> rollout, or demonstrations in its place.
struct generate_group {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0; ///< counts starts of this group
  ticket columns = {};       ///< of the row: `prompt_row::columns`
  std::int32_t answers = 1;
  std::uint64_t seed = 0;    ///< of the group; the same at every attempt
  ticket partial = {};       ///< of what an earlier attempt has (`group_interrupted`): it goes on there; id 0: none
  std::int32_t started = 0;  ///< answers that are begun, of which the `answers` shortest are kept; fewer: all are kept
  episode_place played = {}; ///< its answers are episodes
};

/// Answers `generate_group`: the group waits for slots or has them, and has its own copy of `partial`.
struct group_accepted {
  std::uint64_t group = 0;
  std::int64_t prompt_tokens = 0;
  std::string lost = {}; ///< not empty: `columns` or `partial` could not be had, and why; the group is not accepted
};

/// Forgets a group. coordinator -> rollout.
struct cancel_group {
  std::uint64_t group = 0;
};

/// Stops a group and keeps what it has. coordinator -> rollout. Answered by `group_interrupted`, unless
/// `group_generated` is on its way.
struct interrupt_group {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
};

/// What a group had when it was stopped. rollout -> coordinator.
struct group_interrupted {
  role_instance from;
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  ticket partial = {};                          ///< for `generate_group`; id 0: no answer had begun
  std::map<std::uint32_t, std::int64_t> tokens; ///< of all answers that were begun, by the version that sampled them
};

/// A group could not go on: its environment failed. What it had is lost. rollout -> coordinator.
struct generation_lost {
  role_instance from;
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  std::int64_t tokens = 0; ///< that were sampled
  std::string why;
};

/// A group's answers are complete. rollout -> coordinator.
struct group_generated {
  role_instance from;
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  ticket columns = {}; ///< those that `columns_of` lists
  /// Answer tokens of all answers that are kept, by the version that sampled them.
  std::map<std::uint32_t, std::int64_t> tokens;
  double prefill_s = 0;                               ///< time the engine spent on this group's prompt
  std::int64_t baseline_tokens = 0;                   ///< of the greedy answer beside them, which is not trained
  std::map<std::uint32_t, std::int64_t> answers = {}; ///< tokens of whole answers by the oldest version in each
  std::int64_t surplus_tokens = 0;         ///< of answers that were begun and are not kept; in none of the others
  std::int64_t prompt_tokens_found = 0;    ///< as `rollout::finished_group`
  std::int64_t prompt_tokens_computed = 0; ///< as `rollout::finished_group`
  std::int64_t tool_calls = 0;             ///< of its episodes, malformed ones with them
  std::int64_t malformed_calls = 0;
  std::int64_t rewritten_histories = 0; ///< by its environment or by clients of it
  std::int64_t client_tokens = 0; ///< that the rollout has sampled for clients beside the run, since it said so last
};

} // namespace millrace
