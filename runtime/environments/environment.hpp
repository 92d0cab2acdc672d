#pragma once

#include "runtime/words/chat_turn.hpp"
#include "runtime/words/group_attempt.hpp"
#include "runtime/words/option.hpp"
#include "runtime/words/sampled_turn.hpp"
#include "runtime/words/tool_call.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::environments {

/// What an episode is about: a row of the data.
struct episode_row {
  std::vector<chat_turn> prompt; ///< at least one turn
  std::string answer;            ///< the expected one; may be empty
  std::string ground_truth;      ///< it as JSON; "" where it is text
  std::string data_source;
  std::string extra_info; ///< JSON; may be empty

  bool operator==(const episode_row&) const = default;
};

/// One episode: an answer of a group. An attempt that goes on elsewhere keeps the number that its episodes began with.
struct episode_id {
  group_attempt group;
  std::int32_t answer = 0;

  auto operator<=>(const episode_id&) const = default;
};

/// What the policy wrote in a turn.
struct written_turn {
  std::string text;                  ///< UTF-8, without special tokens; whole
  bool cut_off = false;              ///< it was as long as a turn may be
  bool last = false;                 ///< the episode ends with it, whatever is said
  std::string content = {};          ///< where tools are offered: the text without its calls
  std::vector<tool_call> calls = {}; ///< that it makes of what is offered
  std::int64_t prompt_tokens = 0;    ///< that it was sampled behind
  std::int64_t tokens = 0;           ///< that were sampled
  sampled_turn sampled = {};         ///< the tokens themselves, for a type with `clients`; else nothing
};

/// What an environment says to a turn.
struct saying {
  std::vector<chat_turn> messages = {}; ///< for the policy to read before its next turn
  double reward = 0;                    ///< of the turn; finite
  bool done = false;                    ///< the episode has ended
  /// Where it is rewritten: the whole conversation before `messages`, in place of what was said and written.
  std::vector<chat_turn> history = {};
  bool rewritten = false;

  bool operator==(const saying&) const = default;
};

/// What the episodes of a group begin with.
struct beginning {
  std::vector<chat_turn> prompt;       ///< at least one message
  std::vector<std::string> tools = {}; ///< that it offers, each as JSON: {"type": "function", "function": {...}}
};

/// @param error one line for people; "": the other argument is good
using opened_to = std::function<void(beginning what, std::string error)>;
using said_to = std::function<void(saying what, std::string error)>;

/// Plays episodes. Any thread may call it. `done` is called once, on any thread, perhaps before the method returns, and
/// must not block; not at all once this is destroyed.
class environment {
public:
  virtual ~environment() = default;

  /// Starts what it needs outside this process. @returns why it cannot be used, in one line; "" where it can
  virtual std::string unusable() { return {}; }

  /// Begins the episodes of a group. All read the same prompt first: what `done` gets, at least one message.
  /// @param seed of the group: the same seed begins the same episodes
  virtual void begin(group_attempt group, const episode_row& row, std::int32_t answers, std::uint64_t seed,
                     opened_to done) = 0;

  /// An episode goes on. One that has not begun here, or has ended, is an error.
  virtual void take(const episode_id& episode, const written_turn& turn, said_to done) = 0;

  /// An episode that was to go on is over: what was said to its last turn leaves no room for another.
  virtual void over(const episode_id&) {}

  /// Forgets the episodes of a group; one that is not here is ignored.
  virtual void end(group_attempt group) = 0;

  /// The process ends. Whoever waits outside of the run is told so, within a second or two; nothing else is done from
  /// here on.
  virtual void close() {}
};

/// A kind of environment: one row of the table that CMake's `millrace_add_environments` writes.
struct environment_type {
  std::string name;
  std::string meaning; ///< one line, for people
  std::vector<option> options;

  /// @param values every option that must be written or has a default, each of its type and within its limits
  /// @throws input_error for what limits cannot say
  std::unique_ptr<environment> (*make)(const option_values& values);

  bool clients = false;  ///< it listens for clients outside of the run, so that no evaluation starts one for itself
  bool rewrites = false; ///< what it says may rewrite the conversation
};

/// Every type of environment, in the order of CMake's list.
std::span<const environment_type* const> environment_types();

/// @returns nullptr for an unknown name
const environment_type* find_environment_type(std::string_view name);

} // namespace millrace::environments
