#pragma once

#include "actors/role_context.hpp"
#include "actors/rollout.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/transport/bundle.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::actors {

/// One demonstrated answer as tokens.
struct demonstrated_answer {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> mask; ///< 1: the assistant's own, to be learned; 0: what the template or the user put between
  std::string text;               ///< of the tokens, without special ones
};

/// A row's answers as tokens.
struct demonstrated_group {
  std::vector<std::int32_t> prompt;
  std::vector<demonstrated_answer> answers;
  double margin = 0; ///< of a preference; 0: not said
};

/// Writes a row as the model would have met it: the prompt up to the opening of the assistant's turn, each of that turn's
/// answers up to and with the token that ends it. In `train_on = "every"` the turns between are part of the answer under
/// mask 0; in "last" they are part of the prompt, and an answer is one turn.
///
/// @throws input_error in one line: a row of another form than the table wants, an answer or a prompt that is too long, a
///         conversation that the model's template does not take, answers that end with different earlier turns
demonstrated_group write_demonstrations(const model::checkpoint& words, const pipeline::demonstrations_table& table,
                                        std::int64_t max_prompt_tokens, const generate_group& row);

/// The columns that a rollout adds, and `reward` f32 [answers]: 1 for the only or the better answer (its row's margin where
/// it says one), 0 for the worse. `logprob` is 0: nobody sampled these tokens.
transport::bundle columns_of(const demonstrated_group& group, std::uint32_t version);

struct demonstrations_state {
  static constexpr const char* name = "demonstrations";
  model::checkpoint words; ///< tokenizer, template and shape; no weights
  std::uint32_t version = 0;
};

/// Speaks the rollout's protocol (RO-1, RO-2; versions are taken at once, RO-3): tokens are stamped with the version that
/// is being trained, so that the ledger and the bound on staleness hold as for sampled answers. Never pulls weights.
/// A row that cannot be used is refused with an error, which drops its group and is counted. Stopped: the coordinator has
/// its groups written again. Overloaded: rows queue in the mailbox.
rollout_actor::behavior_type make_demonstrations(rollout_actor::stateful_pointer<demonstrations_state> self,
                                                 role_context context, model::checkpoint words);

} // namespace millrace::actors
