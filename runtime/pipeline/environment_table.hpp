#pragma once

#include "runtime/pipeline/planned_abilities.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/columns.hpp"
#include "runtime/words/episode_history.hpp"
#include "runtime/words/limits.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// Stands in a `visit` for the options of the environment of this type.
struct environment_keys {
  const std::string& type;
};

/// Stands in a `visit` for the options of the tool of this type.
struct tool_keys {
  const std::string& type;
};

/// One entry of `tools = [...]`: `{ type = "python", file = "tools.py", function = "search" }`. Which further keys it
/// takes is the tool type's own matter (`vocabulary`).
struct tool_entry {
  std::string type;
  option_values options;

  bool operator==(const tool_entry&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("type", s.type, needed(one_of(names_of(v.words().tools))), "which tool");
    v.options(tool_keys{s.type}, s.options);
  }
};

/// `kind = "environment"`: plays the other side of the episodes of a rollout that names it. Which further keys it takes
/// is its type's own matter (`vocabulary`); `options` holds every one of them.
struct environment_table {
  static constexpr std::string_view kind = "environment";
  static constexpr std::string_view summary =
      "plays episodes with a rollout: says the prompt, and something to each turn";
  static constexpr bool heavy = false;
  static constexpr bool replicated = true;

  std::string type;
  std::int64_t max_turns = 8;
  std::int64_t max_reply_bytes = 65536;
  episode_history history = episode_history::as_template;
  std::vector<tool_entry> tools;
  option_values options;

  bool operator==(const environment_table&) const = default;

  planned_abilities abilities() const {
    double longest = longest_of(options, 1);
    for (const auto& entry : tools)
      longest = std::max(longest, longest_of(entry.options, 2));
    return {.plays_episodes = true, .deadline_s = longest};
  }

  std::vector<std::string> reads(const vocabulary&) const {
    return column::names(column::prompt, column::prompt_lengths, column::answer, column::data_source);
  }

  std::vector<std::string> reads_if_added() const { return column::names(column::extra_info, column::ground_truth); }

  std::vector<std::string> adds() const { return {}; }

  /// Seconds that a reply of people's own code may take; 0: it has no deadline of its own. @param tries of one call
  static double longest_of(const option_values& of, int tries) {
    const auto seconds = [&](const char* name) {
      const auto found = of.find(name);
      return found == of.end() ? 0.0 : static_cast<double>(std::get<std::int64_t>(found->second)) / 1000;
    };
    const double own = seconds("deadline_ms");
    return own > 0 ? tries * (own + seconds("start_ms")) + 1 : 0;
  }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("type", s.type, needed(one_of(names_of(v.words().environments))), "which environment");
    v("max_turns", s.max_turns, between(1, 100000), "turns of an episode: it ends with the last of them");
    v("max_reply_bytes", s.max_reply_bytes, between(16, 1 << 26),
      "bytes of what the environment says to one turn: what is longer is cut, and says so");
    v("history", s.history, any(),
      "what the policy reads of earlier turns: template = what the model's chat template writes of them; where it "
      "leaves "
      "thoughts out, a segment of the answer begins; sampled = they stay as they were sampled");
    v("tools", s.tools, any(),
      "what the policy may call: the prompt offers them, and results come back, as the model's chat template writes "
      "both");
    v.options(environment_keys{s.type}, s.options);
  }
};

} // namespace millrace::pipeline
