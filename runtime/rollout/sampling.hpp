#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::rollout {

/// How one group's answers are drawn and when they end.
struct sampling {
  double temperature = 1;               ///< >= 0; 0 = greedy, its log-probabilities are those at temperature 1
  int top_k = 0;                        ///< 0 = off
  double top_p = 1;                     ///< in (0, 1]
  double min_p = 0;                     ///< in [0, 1]
  std::vector<std::string> stop;        ///< an answer ends with the token that completes one of these
  std::vector<std::int32_t> end_tokens; ///< an answer ends with any of these
  std::int64_t max_new_tokens = 64;     ///< >= 1, per answer; of an episode with what its environment says
  std::int64_t max_turn_tokens = 0;     ///< of one turn of an episode; 0 = no bound of its own
};

/// One prompt and how many answers are wanted of it.
struct group_request {
  std::uint64_t group = 0;          ///< the caller's name for it, unique among those in the engine
  std::vector<std::int32_t> prompt; ///< at least one token
  std::int32_t answers = 1;         ///< that are begun, >= 1
  /// So many of the answers are kept, the shortest: see `engine`; 0 = all; in [0, answers], not with `greedy`.
  std::int32_t needed = 0;
  std::int32_t greedy = 0; ///< so many of the answers, the last ones, take the likeliest token always; in [0, answers]
  std::uint64_t seed = 0;  ///< answer i draws from (seed, i)
  sampling how;
  bool episodes = false;     ///< an answer that stops waits for what its environment says: `engine::go_on`
  bool tells_tokens = false; ///< `ended_turn` has them
  bool first = false;        ///< its answers take free slots before those of groups that are not
};

/// Why an answer ended. The values are those of the `finish` column.
enum class finish_reason : std::uint8_t {
  stop = 0,   ///< an end token or a stop string
  length = 1, ///< max_new_tokens, or the context is full
};

/// Tokens of an episode that the policy sampled without anybody in between.
struct answer_turn {
  std::int32_t begin = 0; ///< its first token in the answer
  std::int32_t end = -1;  ///< one after its last token; -1: it goes on
  float reward = 0;       ///< that the environment gave for it
  /// What stands between the turn before and this one is a whole conversation: a segment of the answer begins with it.
  bool new_segment = false;

  bool operator==(const answer_turn&) const = default;
};

struct answer {
  std::vector<std::int32_t> tokens;   ///< with the end token, if one was sampled
  std::vector<float> logprob;         ///< per token: ln softmax(logits / temperature) over the whole vocabulary
  std::vector<std::uint32_t> version; ///< per token: the policy version that sampled it
  /// Tokens, ascending, before which the keys and values of prompt and answer were computed anew by that token's
  /// version. Those of the first token, and of a segment's first sampled one, always are; neither is listed.
  std::vector<std::int32_t> recomputed;
  finish_reason finish = finish_reason::length;
  /// UTF-8 without special tokens, up to the stop string if one ended it; "" without a tokenizer. Of an episode the
  /// text of its last turn.
  std::string text;
  /// Of an episode: who wrote what. Tokens between two turns are the environment's: nobody sampled them, `logprob` is 0
  /// and `version` the one that they were read under. Empty: all tokens are sampled, in one turn.
  /// A segment is a sequence of its own: its tokens see each other, and neither the prompt nor the tokens before.
  std::vector<answer_turn> turns = {};
};

/// Whether the answer has ended a turn and its environment has not replied. Of one that has not ended.
inline bool waits_for_reply(const answer& a) {
  return !a.turns.empty() && a.turns.back().end >= 0;
}

/// First tokens of the answer's segments, ascending, without the first one, which goes on behind the prompt.
std::vector<std::int32_t> segment_begins(const answer& a);

/// First token of the answer's last segment; 0: it has one, behind the prompt.
std::int64_t last_segment(const answer& a);

/// Tokens that the policy sampled.
std::int64_t sampled_tokens(const answer& a);

/// The answers of a group whose generation was stopped. Nothing else is needed to go on as if it had not been: keys and
/// values follow from the tokens, the next random number from their count.
struct partial_group {
  std::uint64_t group = 0;
  std::vector<answer> answers;     ///< [answers]; finish and text of those that have ended
  std::vector<std::uint8_t> ended; ///< [answers], 1: it has its last token
};

struct finished_group {
  std::uint64_t group = 0;
  std::vector<answer> answers;     ///< [answers], or [needed]
  std::vector<std::int32_t> kept;  ///< of each its index among those that were begun, ascending; empty: all were kept
  std::int64_t surplus_tokens = 0; ///< sampled of the others
  std::int64_t prompt_tokens = 0;
  std::int64_t prompt_tokens_found = 0;    ///< whose keys and values were here, of groups before; again after a flip
  std::int64_t prompt_tokens_computed = 0; ///< as often as they were computed
  double queued_s = 0;                     ///< from admission to the first slot
  double first_token_s = 0;                ///< from admission to the first token
  double total_s = 0;                      ///< from admission to the last token
};

} // namespace millrace::rollout
