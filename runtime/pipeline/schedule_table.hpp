#pragma once

#include "runtime/pipeline/limits.hpp"
#include "runtime/schedule/config.hpp"

#include <cstdint>
#include <limits>
#include <string>

namespace millrace::pipeline {

/// `[schedule.clock]`: what a step is.
struct clock_table {
  std::string unit = "step";
  std::int64_t minibatches = 1;
  std::int64_t publish_every = 1;

  bool operator==(const clock_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("unit", s.unit, one_of(schedule::words_of<schedule::lag_unit>()),
      "what stale.max counts: versions, or optimizer updates or groups trained since the version, those of the step under way too");
    v("minibatches", s.minibatches, between(1, 1e6), "optimizer updates in a step, each of its share of the step's groups");
    v("publish_every", s.publish_every, between(1, 1e6), "steps between publications of new weights");
  }
};

/// `[schedule.gate]`: who may start.
struct gate_table {
  double depth = 1;
  double warmup = 0;
  std::int64_t max_inflight = 0;
  double burst = std::numeric_limits<double>::infinity();

  bool operator==(const gate_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("depth", s.depth, between(0, std::numeric_limits<double>::infinity()), "steps that generation may run ahead of training; fractions and inf too");
    v("warmup", s.warmup, between(0, 1e6), "steps of further lead under the first weights of a run or of its continuation");
    v("max_inflight", s.max_inflight, between(0, 1e9), "groups generated at once, in all processes; 0 = as many as there are places");
    v("burst", s.burst, above(0, std::numeric_limits<double>::infinity()), "steps' worth of groups that generation grows by at most under one version; inf = any");
  }
};

/// `[schedule.select]`: what makes a batch.
struct select_table {
  std::string order = "in_order";
  std::int64_t min_ready = 0;
  std::int64_t tokens_per_step = 0;
  double on_policy_min = 0;

  bool operator==(const select_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("order", s.order, one_of(schedule::words_of<schedule::select_order>()),
      "which groups: in the order of their prompts, the oldest, who is ready first, the freshest, or alike in length");
    v("min_ready", s.min_ready, between(0, 1e6), "ready groups that begin a step of several minibatches; 0 = groups_per_step");
    v("tokens_per_step", s.tokens_per_step, between(0, 1e9), "answer tokens that make a step with fewer than groups_per_step groups; 0 = groups alone count");
    v("on_policy_min", s.on_policy_min, between(0, 1), "share of each update's groups that the newest weights generated, while there are such groups to come");
  }
};

/// `[schedule.stale]`: the safety bound.
struct stale_table {
  double max = 1;
  std::string measure = "head";
  std::string action = "wait";
  std::string check = "cut";

  bool operator==(const stale_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("max", s.max, between(0, std::numeric_limits<double>::infinity()), "versions that what is trained may lie behind the policy; inf = any");
    v("measure", s.measure, one_of(schedule::words_of<schedule::stale_measure>()),
      "counted from a group's oldest token, its newest, or the weights it was started under");
    v("action", s.action, one_of(schedule::words_of<schedule::stale_action>()),
      "what keeps the bound: the batch waits, the group is dropped or generated again, its old answers or tokens train nothing; train = no bound");
    v("check", s.check, one_of(schedule::words_of<schedule::stale_check>()), "where drop and requeue look: among ready groups; publish = among running ones too");
  }
};

/// `[schedule.interrupt]`: what a publication does to running generation.
struct interrupt_table {
  std::string mode = "drain";
  std::string kv = "keep";

  bool operator==(const interrupt_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("mode", s.mode, one_of(schedule::words_of<schedule::interrupt_mode>()),
      "running groups end first, go on under the new weights, are handed back and go on anywhere, or begin anew");
    v("kv", s.kv, one_of(schedule::words_of<schedule::kv_mode>()),
      "mode pause: cached keys and values of running answers stay, or are computed anew under the new weights");
  }
};

/// `[schedule.publish]`: who gets new weights when.
struct publish_table {
  std::string pattern = "push";
  std::int64_t rolling_width = 1;
  std::int64_t ack = 0;
  double deadline_s = 0;

  bool operator==(const publish_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("pattern", s.pattern, one_of(schedule::words_of<schedule::publish_pattern>()), "every rollout at once, a few at a time, or each when it runs empty");
    v("rolling_width", s.rolling_width, between(1, 1e6), "rolling: rollouts that take weights at once");
    v("ack", s.ack, between(0, 1e6), "rollouts that must run a version before it counts; others get no group until they do; 0 = all");
    v("deadline_s", s.deadline_s, between(0, 1e6),
      "seconds that a rollout may take to run weights it was sent before others that run them go on without it; 0 = any time");
  }
};

/// `[schedule.tail]`: the long tail.
struct tail_table {
  double oversample_prompts = 1;
  double oversample_attempts = 1;
  std::string stop = "all";
  std::string surplus = "keep";
  double repack_below = 0;

  bool operator==(const tail_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("oversample_prompts", s.oversample_prompts, between(1, 100), "groups started for each one that is trained");
    v("oversample_attempts", s.oversample_attempts, between(1, 100), "answers started for each one that a group needs; the shortest are kept, the others are cut off");
    v("stop", s.stop, one_of(schedule::words_of<schedule::tail_stop>()), "first_k = the step's batch ends its round of generation");
    v("surplus", s.surplus, one_of(schedule::words_of<schedule::tail_surplus>()), "first_k: what happens to the round's other groups");
    v("repack_below", s.repack_below, between(0, 1), "pull: a rollout with a smaller share of its places taken hands its groups to a fuller one; 0 = never");
  }
};

/// `[schedule.place]`: who shares hardware.
struct place_table {
  std::string mode = "disjoint";
  double reclaim_at = 0;
  bool reclaim_adapt = false;

  bool operator==(const place_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("mode", s.mode, one_of(schedule::words_of<schedule::place_mode>()), "timeshare = nothing is generated while a batch is trained; lend = rollouts on the policy's host generate beside it, as long as reclaim_at says");
    v("reclaim_at", s.reclaim_at, between(0, 1), "lend: share of the next batch that, once ready, keeps those rollouts from starting more until the step is trained");
    v("reclaim_adapt", s.reclaim_adapt, any(), "lend: after a step that ended with less than the next batch ready that share moves an eighth of the way to 1, else to one group");
  }
};

/// `[schedule.faults]`: what a lost group costs.
struct faults_table {
  std::int64_t attempts = 5;
  std::int64_t data_attempts = 1;
  std::string lost_group = "replace";
  double min_batch_fraction = 0;
  std::int64_t consecutive_losses = 0;
  double call_deadline_s = 0;

  bool operator==(const faults_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("attempts", s.attempts, between(1, 1e6), "attempts lost to dead processes before a group is lost");
    v("data_attempts", s.data_attempts, between(1, 1e6), "attempts that the data failed before a group is lost");
    v("lost_group", s.lost_group, one_of(schedule::words_of<schedule::lost_group>()), "the next prompt takes its place, its batch is smaller, or the run ends");
    v("min_batch_fraction", s.min_batch_fraction, between(0, 1), "shrink: the run ends when a batch would be a smaller share of groups_per_step");
    v("consecutive_losses", s.consecutive_losses, between(0, 1e9), "groups lost with none ready in between that end the run; 0 = any number");
    v("call_deadline_s", s.call_deadline_s, between(0, 1e6), "seconds that a group may generate, or wait for its columns, before the attempt counts as lost; 0 = any time");
  }
};

/// `[schedule]`: what may start when, and what makes a batch. The preset says the defaults of the tables below it, but for
/// `faults`; where the file says `gate.depth` alone, `stale.max` keeps its distance to it. `millrace schedule list` shows
/// the presets.
///
/// What the nine tables of other systems' schedules say and these say otherwise, or not at all:
/// - `clock.unit` publish, optimizer_step, sample: step, update, group. `select.unit` tokens: `select.tokens_per_step`.
/// - `gate.refund`: a credit is a group that is live, so every way out of that gives it back; there is nothing to list.
/// - `gate.max_inflight` auto: a group's keys and values grow block by block and no answer is ever preempted for want of them, so
///   there is no sign to adapt to; a number, or as many as there are places.
/// - `select.reuse`: a group is trained at most once, which the ledger holds the run to. Further updates over the same batch are
///   the policy's own: `updates_per_batch`, `epochs`.
/// - `stale.check` admit: `gate.depth`, which `wait` holds to at most `stale.max`. Action wait looks ahead at every cut.
/// - `interrupt.granularity` turn: answers have one turn. `interrupt.salt_prefix_cache`: prompts are computed anew at each flip, no
///   cache outlives its version.
/// - `publish.transport`: UCX chooses the wire (`placement.transport` narrows that), for weights as for everything. `publish.buffers`:
///   always two, the next weights are laid out beside those that decode.
/// - `place.min_gain_s`: the scheduler counts groups and steps and asks no clock what a switch gains; `place.reclaim_at` is the person's.
/// - channel capacities: none is bounded, `gate` alone says how much is under way, so none can be too small for depth or max.
/// - `faults.stall_after_s`, `on_stall`: of the whole run, `[run]`. `correction`: of the loss, `loss.corrections`, `loss.proximal`.
struct schedule_table {
  std::string preset = "one_step_off";
  std::int64_t groups_per_step = 0;
  bool drop_zero_variance = false;
  std::int64_t extra_groups_per_step = 0;
  clock_table clock;
  gate_table gate;
  select_table select;
  stale_table stale;
  interrupt_table interrupt;
  publish_table publish;
  tail_table tail;
  place_table place;
  faults_table faults;

  bool operator==(const schedule_table&) const = default;

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("preset", s.preset, one_of(schedule_presets()), "the defaults of the other tables: millrace schedule list");
    v("groups_per_step", s.groups_per_step, needed(between(1, 1e6)), "groups (prompts) trained in each step");
    v("drop_zero_variance", s.drop_zero_variance, any(), "dynamic sampling (DAPO): a group whose rewards are all equal is replaced by the next prompt's");
    v("extra_groups_per_step", s.extra_groups_per_step, between(0, 1e6), "groups replaced in a step at most, then they are trained; 0 = 10 times groups_per_step");
    v("clock", s.clock, any(), "what a step is");
    v("gate", s.gate, any(), "what may start");
    v("select", s.select, any(), "what makes a batch");
    v("stale", s.stale, any(), "how old a trained token may be");
    v("interrupt", s.interrupt, any(), "what new weights do to running generation");
    v("publish", s.publish, any(), "who gets new weights when");
    v("tail", s.tail, any(), "what happens to answers that take long");
    v("place", s.place, any(), "who shares hardware");
    v("faults", s.faults, any(), "what a lost group costs");
  }

private:
  static std::vector<std::string> schedule_presets();
};

} // namespace millrace::pipeline
