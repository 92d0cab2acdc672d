#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace millrace::pipeline {

/// When an evaluation is due.
struct evaluation_times {
  std::uint32_t every = 0; ///< versions; 0 = only the first and the last
  bool at_start = true;

  bool operator==(const evaluation_times&) const = default;
};

/// What a role will be able to do once it is up. The table of each kind says it with `abilities()`. Whoever decides
/// asks for this and never for the kind.
struct planned_abilities {
  bool gives_prompts = false;
  bool adds_columns = false; ///< to groups that others have generated
  bool trains = false;
  bool leads = false;                  ///< of those that train: it publishes the weights
  bool takes_weights = false;          ///< goes on with newer versions
  std::optional<std::int32_t> answers; ///< it generates: so many answers a prompt
  std::optional<evaluation_times> evaluates;
  bool plays_episodes = false;
  std::string_view environment = {}; ///< of a role that generates: who plays its answers' episodes; "": they are none
  double deadline_s = 0;             ///< of a request to it; 0: as `run` says

  bool operator==(const planned_abilities&) const = default;
};

/// A kind of role that does nothing but add columns, whatever its table says. Its columns are a function of the group:
/// a replay makes the role as a run does and asks it again.
template <class Table>
concept only_adds_columns = requires {
  requires Table::abilities()
  == planned_abilities{.adds_columns = true};
};

} // namespace millrace::pipeline
