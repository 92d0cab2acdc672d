#pragma once

#include "runtime/pipeline/limits.hpp"

#include <cstdint>
#include <string>

namespace millrace::pipeline {

/// `[schedule.stale]`: the safety bound.
struct stale_table {
  std::int64_t max = 1;
  std::string action = "wait";

  bool operator==(const stale_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("max", s.max, between(0, 1000), "versions that the oldest token of a trained group may lie behind the policy");
    v("action", s.action, one_of({"wait"}), "what keeps the bound: wait = no batch is cut that would leave an older group behind");
  }
};

/// `[schedule]`: what may start when, and what makes a batch. The preset says the defaults of all other keys:
///
///     preset        depth  in_flight_update  stale.max
///     synchronous   0      false             0          generate, train, publish in turn
///     one_step_off  1      false             1          the next step's answers are generated while this one trains
///     bounded       2      true              depth + 1  generation runs `depth` steps ahead, new weights land mid-answer
struct schedule_table {
  std::string preset = "one_step_off";
  std::int64_t groups_per_step = 0;
  std::int64_t depth = 1;
  bool in_flight_update = false;
  stale_table stale;

  bool operator==(const schedule_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("preset", s.preset, one_of({"synchronous", "one_step_off", "bounded"}), "the defaults of the other keys");
    v("groups_per_step", s.groups_per_step, needed(between(1, 1e6)), "groups (prompts) trained in each step");
    v("depth", s.depth, between(0, 1000), "steps that generation may run ahead of training");
    v("in_flight_update", s.in_flight_update, any(), "new weights land between two tokens of answers under way, not after them");
    v("stale", s.stale, any(), "how old a trained token may be");
  }
};

} // namespace millrace::pipeline
