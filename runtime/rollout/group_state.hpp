#pragma once

#include "runtime/model/inference_operations.hpp"
#include "runtime/model/kv_cache.hpp"
#include "runtime/rollout/answer_end.hpp"
#include "runtime/rollout/sampling.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace millrace::rollout {

/// Keys and values of an answer without a slot.
struct waiting_keys {
  model::kv_sequence sequence;
  bool mixed = false; ///< as `slot::mixed`
};

/// A group from its admission to its last token.
struct group_state {
  group_request request;
  model::kv_sequence prompt; ///< holds the first `computed` prompt tokens
  std::int64_t computed = 0;
  std::uint64_t admission = 0;     ///< counts the engine's groups: an older one has less
  std::int32_t placed = 0;         ///< answers below it have, had or need no slot
  bool withheld = false;           ///< no answer gets a slot any more
  std::vector<std::uint8_t> ended; ///< [answers]
  std::deque<std::int32_t> back;   ///< answers that go on after their environment's reply and have no slot yet
  std::map<std::int32_t, waiting_keys> kept_keys; ///< keys and values of answers that had a slot and will again
  /// Tokens and index of the last of the `needed` shortest answers that have ended, once there are so many.
  std::optional<std::pair<std::size_t, std::int32_t>> last_kept;
  finished_group result;
  std::chrono::steady_clock::time_point admitted = std::chrono::steady_clock::now();

  std::int64_t prompt_tokens() const { return static_cast<std::int64_t>(request.prompt.size()); }

  std::int64_t sequence_begin(const answer& a) const { return rollout::sequence_begin(a, prompt_tokens()); }

  bool prompt_done() const { return computed == prompt_tokens(); }

  bool oversampled() const { return request.needed > 0 && request.needed < request.answers; }

  std::pair<std::size_t, std::int32_t> rank(std::int32_t index, std::size_t more = 0) const {
    return {result.answers[static_cast<std::size_t>(index)].tokens.size() + more, index};
  }

  /// Nothing is left to do for the answer: it has ended, or is not kept whatever else it samples.
  bool settled(std::int32_t index) const {
    return ended[static_cast<std::size_t>(index)] || (last_kept && rank(index, 1) > *last_kept);
  }

  bool done() const {
    for (std::int32_t i = 0; i < request.answers; ++i)
      if (!settled(i))
        return false;
    return true;
  }

  /// Its turn has ended, and the environment has not replied.
  bool is_away(std::int32_t index) const {
    return !settled(index) && waits_for_reply(result.answers[static_cast<std::size_t>(index)]);
  }

  /// No answer wants a slot.
  bool all_placed() { // passes over answers that were settled when they came, or away
    std::erase_if(back, [&](std::int32_t index) { return settled(index); });
    while (placed < request.answers && (settled(placed) || is_away(placed)))
      ++placed;
    return back.empty() && placed == request.answers;
  }

  /// The next answer that wants a slot, where one does.
  std::int32_t next_placed() {
    if (back.empty())
      return placed++;
    const auto index = back.front();
    back.pop_front();
    return index;
  }

  void find_last_kept();

  /// Leaves the answers that are not kept out of the result.
  void keep_shortest();
};

/// One answer being decoded, or nothing.
struct slot {
  group_state* group = nullptr;
  std::int32_t index = 0;
  model::kv_sequence sequence; ///< of the first tokens of prompt and answer, or of its last segment
  bool started = false;        ///< the sequence has the prompt
  bool anew = false;           ///< the next token is the first since prompt and answer were computed again
  bool mixed = false;          ///< the sequence has keys and values of earlier versions
  bool parked = false;         ///< has no keys and values and computes nothing until the cache has room

  bool runs() const { return group && !parked; }

  /// It begins behind the group's prompt, and has not begun.
  bool awaits_prompt() const { return runs() && !started && begin() < 0; }

  answer& text() const { return group->result.answers[static_cast<std::size_t>(index)]; }

  /// As `group_state::sequence_begin`.
  std::int64_t begin() const { return group->sequence_begin(text()); }

  /// Of the sequence, with those that have no keys and values.
  std::int64_t tokens() const { return static_cast<std::int64_t>(text().tokens.size()) - begin(); }

  /// Tokens without keys and values; 1: only the last one.
  std::int64_t missing() const { return tokens() - sequence.length(); }

  std::int32_t token_at(std::int64_t position) const {
    const auto at = position + begin();
    return at < 0 ? group->request.prompt[static_cast<std::size_t>(position)]
                  : text().tokens[static_cast<std::size_t>(at)];
  }
};

/// The rows of one step, and which slots draw from which of them.
struct step_plan {
  std::vector<model::inference_row> rows;
  std::vector<std::int64_t> asked;                  ///< rows whose logits are wanted
  std::vector<std::pair<std::size_t, slot*>> draws; ///< index into `asked`, who draws
  std::int64_t prompt_rows = 0;                     ///< of tokens that were not drawn in the step before

  void ask() { asked.push_back(static_cast<std::int64_t>(rows.size()) - 1); }

  void draw(slot& who) { draws.emplace_back(asked.size() - 1, &who); }
};

} // namespace millrace::rollout
