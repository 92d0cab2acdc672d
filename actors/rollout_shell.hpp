#pragma once

#include "actors/continuation.hpp"
#include "actors/generation.hpp"
#include "actors/job_thread.hpp"
#include "actors/role_context.hpp"
#include "actors/rollout.hpp"
#include "runtime/model/checkpoint.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace millrace::actors {

using rollout_shell = rollout_actor::extend<caf::reacts_to<continuation>>;

struct rollout_shell_state {
  static constexpr const char* name = "rollout";

  struct waiting_flip {
    std::uint32_t version = 0;
    weights_live answer;
    caf::typed_response_promise<weights_live> promise;
  };

  /// A group whose earlier answers are being pulled.
  struct pulling {
    std::uint32_t attempt = 0;
    bool interrupted = false;
  };

  model::checkpoint words; ///< tokenizer, template and shape; no weights
  std::unique_ptr<generation> engine;
  std::unique_ptr<job_thread> staging;
  std::vector<waiting_flip> flips;
  std::map<std::uint64_t, pulling> pulls; ///< by group
  std::optional<std::uint32_t> staged_version; ///< the newest handed to the engine
  std::optional<std::uint32_t> live_version;   ///< the newest that the engine said it samples from
};

/// The actor around `generation`: tokenizes prompts, pulls and packs new weights beside decoding, publishes finished
/// groups. A prompt that does not fit is refused with an error. Stopped: what is being generated is gone (the coordinator
/// sees this actor's end and has the groups generated again). Overloaded: groups queue in the engine.
/// @throws input_error if the model's folder cannot be read
rollout_shell::behavior_type make_rollout(rollout_shell::stateful_pointer<rollout_shell_state> self, role_context context,
                                          model::checkpoint words);

} // namespace millrace::actors
