#pragma once

#include "runtime/messages/protocol.hpp"
#include "runtime/words/chat_turn.hpp"
#include "runtime/words/sampled_turn.hpp"
#include "runtime/words/ticket.hpp"
#include "runtime/words/tool_call.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace {

/// Begins the episodes of a group, one an answer. rollout -> environment. Asked again for episodes that are there, the
/// answer is the same.
struct begin_episodes {
  std::uint64_t group = 0;
  std::uint32_t since = 0; ///< the attempt of the group that they begin with
  std::int32_t answers = 1;
  std::uint64_t seed = 0;    ///< of the group
  ticket columns = {};       ///< of the row
  bool with_history = false; ///< the policy may read earlier turns anew: replies come with them
};

/// Answers `begin_episodes`: the prompt that all of them read first.
struct episodes_begun {
  std::vector<chat_turn> prompt;
  std::vector<std::string> tools = {}; ///< that it offers, each as JSON
};

/// What the policy wrote in a turn. rollout -> environment. Asked again for the same turn, the answer is the same.
struct take_turn {
  std::uint64_t group = 0;
  std::uint32_t since = 0;        ///< as `begin_episodes`
  std::int32_t answer = 0;        ///< its index in the group
  std::int32_t turn = 0;          ///< counted from 0
  std::string text;               ///< UTF-8, without special tokens
  bool cut_off = false;           ///< it was as long as a turn may be
  bool last = false;              ///< the answer has no room for another turn: the episode ends with it
  called_turn read = {};          ///< the text, its calls apart; where tools are offered
  std::int64_t prompt_tokens = 0; ///< that it was sampled behind
  std::int64_t tokens = 0;        ///< that were sampled
  sampled_turn sampled = {};      ///< the tokens themselves, where the environment has clients; else nothing
};

/// Answers `take_turn`: what the environment says to it.
struct turn_taken {
  std::vector<chat_turn> messages; ///< for the policy to read before its next turn
  double reward = 0;               ///< of the turn
  bool done = false;               ///< the episode has ended
  /// The conversation before `messages`: where it was asked for, and where it is rewritten.
  std::vector<chat_turn> history = {};
  bool rewritten = false; ///< `history` is not what the policy has read and written
};

/// Forgets the episodes of a group. coordinator -> environment. Or says that one of them is over, because what was said
/// to its last turn leaves no room for another. rollout -> environment.
struct end_episodes {
  std::uint64_t group = 0;
  std::uint32_t since = 0;  ///< as `begin_episodes`
  std::int32_t answer = -1; ///< its index in the group: that one is over; -1: all are forgotten
};

/// Plays the other side of episodes.
/// - EN-1: a group's episodes stay with one role until they are ended, whoever asks. They die with its process.
/// - EN-2: what is said to a turn is said once: whoever takes the answer over and asks again is told the same.
using plays_episodes =
    protocol<asked<begin_episodes, episodes_begun>, asked<take_turn, turn_taken>, told<end_episodes>>;

/// Where the episodes of a group are played.
struct episode_place {
  handle<plays_episodes> environment; ///< none: the group's answers are no episodes
  std::uint32_t since = 0;            ///< as `begin_episodes`
  double deadline_s = 0;              ///< of a request to it
};

} // namespace millrace
