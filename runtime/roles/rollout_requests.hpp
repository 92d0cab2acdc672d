#pragma once

#include "runtime/messages/generate.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/rollout/cache_room.hpp"
#include "runtime/rollout/engine.hpp"
#include "runtime/words/chat_turn.hpp"
#include "runtime/words/tool_call.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace millrace::roles {

/// The longest prompt, in tokens, that any source of the pipeline lets through.
std::int64_t longest_prompt(const pipeline::pipeline& p);

/// What an environment says to a turn, in the model's tokens: what the chat template writes behind the turn, or a
/// segment with the whole conversation where its history is rewritten, by a client or by the template.
/// @param tools that the environment offers
/// @throws input_error as `model::encode_reply` and `model::encode_chat`
rollout::turn_reply reply_in_tokens(const model::checkpoint& words, const rollout::ended_turn& turn,
                                    const turn_taken& said, std::span<const std::string> tools);

/// Whether the answer goes on with the reply.
bool fits(const rollout::ended_turn& turn, const rollout::turn_reply& reply);

/// What a rollout role asks of its engine: the prompt in the model's tokens and how its answers are sampled.
class rollout_requests {
public:
  /// @param words tokenizer, template and shape of the role's model; no weights
  /// @throws input_error for a cache that does not hold one answer
  rollout_requests(const pipeline::pipeline& p, const pipeline::rollout_table& table, model::checkpoint words);

  /// @param prompt the row's conversation, or the one that the group's environment begins with
  /// @throws input_error for a prompt that is longer than the source lets through or leaves no room for an answer
  /// @param tools that the environment offers
  rollout::group_request make(const generate_group& ask, const std::vector<chat_turn>& prompt,
                              const std::vector<std::string>& tools = {}) const;

  /// Whether earlier turns of episodes may be read anew.
  bool with_history() const;

  /// The tokens of a turn, with their texts. Nothing where the environment has no clients.
  sampled_turn sampled(const rollout::ended_turn& turn) const;

  /// A turn and the calls of tools that it spells, as the model's family writes them.
  called_turn calls_in(const std::string& turn) const;

  rollout::engine_options engine_options(int threads) const;

  /// Answers of a group that are always the likeliest token and are not trained.
  std::int32_t greedy() const { return greedy_; }

private:
  std::int64_t longest_sequence() const; ///< tokens of prompt and answer

  model::checkpoint words_;
  rollout::sampling how_;
  std::int64_t longest_prompt_ = 0;
  std::int32_t slots_ = 1;
  std::int64_t cache_bytes_ = 0;
  sampling_precision cached_ = sampling_precision::float32;
  bool prefix_cache_ = true;
  std::int32_t greedy_ = 0;
  bool episodes_ = false, with_clients_ = false;
};

} // namespace millrace::roles
