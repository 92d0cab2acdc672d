#pragma once

#include "runtime/model/decoder.hpp"
#include "runtime/rollout/sampling.hpp"
#include "runtime/text/tokenizer.hpp"
#include "runtime/words/kv_on_flip.hpp"
#include "runtime/words/precision.hpp"
#include "runtime/words/sampled_turn.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace millrace::rollout {

struct engine_options {
  std::int32_t slots = 32;                                 ///< answers decoded together, >= 1
  std::int64_t max_context = 0;                            ///< tokens of prompt and answer; 0 = the model's context
  std::int64_t prefill_rows = 512;                         ///< prompt tokens computed in one step, >= 1
  int threads = 1;                                         ///< >= 1, of the CPU
  std::int64_t cache_bytes = 0;                            ///< most bytes of keys and values; 0 = no bound
  sampling_precision cached = sampling_precision::float32; ///< keys and values; narrower on the CPU alone
  bool prefix_cache = true; ///< keys and values are found again by the tokens that they are of
};

/// What one step did.
struct step_stats {
  /// Tokens computed that were not drawn a step before: of prompts, and of answers that go on.
  std::int64_t prompt_tokens = 0;
  std::int64_t found_tokens = 0;   ///< tokens that would have been, but their keys and values were here
  std::int64_t sampled_tokens = 0; ///< tokens drawn
  std::int32_t occupied = 0;       ///< slots that held an answer during the step
  std::int32_t parked = 0;         ///< of these, answers that waited for room in the cache
  double prefill_s = 0;            ///< the share of the step's time that its prompt rows had
  double decode_s = 0;             ///< the rest
};

/// A token as it was drawn.
struct drawn_token {
  std::uint64_t group = 0;
  std::int32_t answer = 0; ///< its index in the group
  std::int32_t token = 0;
  float logprob = 0;
  std::optional<finish_reason> end; ///< the answer has ended with it
};

/// A turn of an episode that has ended. Its answer has no slot until `engine::go_on`.
struct ended_turn {
  std::uint64_t group = 0;
  std::int32_t answer = 0;                    ///< its index in the group
  std::int32_t turn = 0;                      ///< its index in the answer
  std::string text;                           ///< as `answer::text`
  finish_reason finish = finish_reason::stop; ///< length: the turn was cut off
  std::int32_t last_token = 0;
  std::int64_t read = 0;    ///< tokens that it was sampled behind: of the prompt and the answer, or of the segment
  std::int64_t written = 0; ///< its own tokens
  std::int64_t room = 0;    ///< tokens that still fit into the answer; none: the episode ends with the turn
  std::int64_t room_of_segment = 0; ///< that would fit into a segment that begins behind the turn
  /// What was read and written, without texts. nullptr: the group does not ask for it.
  std::shared_ptr<const sampled_turn> sampled = nullptr;
};

/// What an environment says to a turn.
struct turn_reply {
  std::vector<std::int32_t> tokens = {}; ///< for the model to read before its next turn
  float reward = 0;
  bool done = false; ///< the episode has ended; `tokens` are not wanted
  /// `tokens` are a whole conversation, at least one: a segment of the answer begins with them.
  bool new_segment = false;
};

/// Generates answers by continuous batching: a fixed number of slots, each decoding one answer; a slot whose answer is
/// finished takes the next waiting answer at the next step. The answers of a group share one computation of their
/// prompt, and its cached keys and values.
///
/// An answer is a function of the weights, the prompt, the seed, its index and its sampling. It does not depend on the
/// other answers of its batch, on slots or threads, or on how often it was handed over and continued here or in another
/// engine. On the CPU this holds bit for bit. On a GPU it holds up to rounding: the batch may change the last bits of a
/// probability, and if a random draw falls that close to the border between two tokens, the other token is drawn.
///
/// With `cache_bytes` the answers that run share so much memory. When it is full, the newest answer is put back: its
/// tokens stay, its keys and values are computed again when there is room, the oldest answer first. So one answer
/// always runs. Under one version the tokens and their probabilities are those of an engine without the bound.
///
/// With `prefix_cache`, keys and values of prompts and answers stay when their group has left, until room is wanted:
/// the least recently used go first. A prompt that begins with the same tokens, 16 at a time, computes only the rest:
/// one with the same system message, or an episode's next turn behind an answer that was drawn here. Only what the
/// present version alone has computed is found. Without `cache_bytes` it takes at most a quarter more than the answers
/// that run have had at once. The tokens and their probabilities are those of an engine without it.
///
/// An answer of several versions also depends on the token where each version began, and on whether keys and values
/// were computed anew there. `answer` records both. A prompt's keys and values are never older than the first token
/// drawn from them.
///
/// A group that keeps `needed` of its answers keeps the shortest, in tokens; of two equal ones the lower index. It ends
/// as soon as `needed` answers have ended and no other can still become shorter than those. An answer that can no
/// longer be among the kept leaves its slot at once. So which answers are kept follows from the answers alone. Slots
/// and timing decide only how many tokens of the others were sampled in vain.
///
/// An answer of a group with `episodes` ends its turn where it would end otherwise, and leaves its slot. `last_turns`
/// says so, and `go_on` takes what the environment says to it. Meanwhile its keys and values are kept where the cache
/// is not bounded or has room. An answer that has no room for one more token ends, whatever the environment says.
///
/// Has neither threads of its own that outlive a step's work nor locks: one caller at a time.
class engine {
public:
  /// @param policy  as `model::inference_decoder` makes it; keys and values are kept where it is
  /// @param tok     may be null: then texts are empty and stop strings are refused
  /// @param version stamped on every token that `policy` samples
  /// @throws std::invalid_argument for an option out of range or a policy that is not packed
  /// @throws input_error for a cache that does not hold one answer of the whole context
  engine(std::shared_ptr<const model::decoder> policy, std::shared_ptr<const text::tokenizer> tok,
         std::uint32_t version, engine_options options);
  ~engine();
  engine(engine&&) noexcept;
  engine& operator=(engine&&) noexcept;

  /// Queues a group behind those that wait; one that is `first` before those that are not.
  /// @param so_far what an engine handed over of the same request: it goes on there, ended answers stay as they are
  /// @throws input_error for a prompt that leaves no room for an answer in the context
  /// @throws std::invalid_argument for a request out of range, a group that is already here, or a `so_far` that is not
  ///         of this request
  void admit(group_request request, std::optional<partial_group> so_far = std::nullopt);

  /// Stops a group and hands over what it has. @returns nothing if it is not here
  std::optional<partial_group> interrupt(std::uint64_t group);

  /// Drops a group with all its answers, finished or not. @returns whether it was here
  bool cancel(std::uint64_t group);

  /// The policy from the next step on; running answers go on with it. A later call before that step replaces it.
  /// @throws std::invalid_argument if `next` is not packed, of another shape or on another device
  void hand_over_weights(std::shared_ptr<const model::decoder> next, std::uint32_t version,
                         kv_on_flip cache = kv_on_flip::keep);

  /// Goes on with an answer whose turn has ended: with its next turn, or not at all.
  /// @returns false where no such answer waits here
  /// @throws std::invalid_argument for tokens that are not of the vocabulary, or a segment without any
  bool go_on(std::uint64_t group, std::int32_t answer, const turn_reply& reply);

  /// Whether answers get slots. While none does, those that have one go on to the end of their turn.
  void give_slots(bool on);

  /// No answer of the group gets a slot any more. @returns whether one still has one
  bool withhold_slots(std::uint64_t group);

  /// Whether an answer of the group has a slot.
  bool has_slot(std::uint64_t group) const;

  /// Fills free slots, computes prompts and one token for each running answer, and returns the groups whose last
  /// answer ended, in the order in which they stand. Returns at once when idle.
  std::vector<finished_group> step();

  bool idle() const;  ///< no group here
  bool waits() const; ///< `step` has nothing to do: no answer has a slot, and none gets one
  std::int32_t free_slots() const;
  std::int64_t waiting_answers() const; ///< admitted, without a slot
  std::int64_t groups() const;          ///< admitted, not finished
  std::uint32_t version() const;        ///< that the next step samples with
  std::int64_t max_context() const;
  std::int64_t cache_bytes() const; ///< allocated for keys and values
  const step_stats& last_step() const;

  /// The tokens that the last step drew.
  const std::vector<drawn_token>& last_tokens() const;

  /// The turns that ended with the last step. The first step after a group was handed over to this engine names those
  /// of its turns again that wait for a reply.
  const std::vector<ended_turn>& last_turns() const;

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace millrace::rollout
