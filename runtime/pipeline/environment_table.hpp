#pragma once

#include "runtime/pipeline/planned_abilities.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/columns.hpp"
#include "runtime/words/limits.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// Stands in a `visit` for the options of the environment of this type.
struct environment_keys {
  const std::string& type;
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
  option_values options;

  bool operator==(const environment_table&) const = default;

  planned_abilities abilities() const {
    const auto seconds = [&](const char* name) {
      const auto found = options.find(name);
      return found == options.end() ? 0.0 : static_cast<double>(std::get<std::int64_t>(found->second)) / 1000;
    };
    const double own = seconds("deadline_ms");
    return {.plays_episodes = true, .deadline_s = own > 0 ? own + seconds("start_ms") + 1 : 0};
  }

  std::vector<std::string> reads(const vocabulary&) const {
    return column::names(column::prompt, column::prompt_lengths, column::answer, column::data_source);
  }

  std::vector<std::string> reads_if_added() const { return column::names(column::extra_info, column::ground_truth); }

  std::vector<std::string> adds() const { return {}; }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("type", s.type, needed(one_of(names_of(v.words().environments))), "which environment");
    v("max_turns", s.max_turns, between(1, 100000), "turns of an episode: it ends with the last of them");
    v("max_reply_bytes", s.max_reply_bytes, between(16, 1 << 26),
      "bytes of what the environment says to one turn: what is longer is cut, and says so");
    v.options(environment_keys{s.type}, s.options);
  }
};

} // namespace millrace::pipeline
