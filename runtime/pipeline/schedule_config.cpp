#include "runtime/pipeline/schedule_config.hpp"

#include "runtime/input_error.hpp"
#include "runtime/pipeline/wording.hpp"
#include "runtime/schedule/admission.hpp"
#include "runtime/schedule/age_limit.hpp"
#include "runtime/schedule/presets.hpp"

#include <algorithm>
#include <cmath>

namespace millrace::pipeline {

std::vector<std::string> schedule_table::schedule_presets() { return schedule::preset_names(); }

namespace {

/// Every key of the tables with the scheduler's field: `visit(path, key, name of the field, field)`.
template <class Table, class Config, class Visit> void each_key(Table& t, Config& c, Visit&& visit) {
  visit("clock.unit", t.clock.unit, "unit", c.unit);
  visit("clock.minibatches", t.clock.minibatches, "minibatches", c.minibatches);
  visit("clock.publish_every", t.clock.publish_every, "publish_every", c.publish_every);
  visit("gate.depth", t.gate.depth, "depth", c.depth);
  visit("gate.warmup", t.gate.warmup, "warmup", c.warmup);
  visit("gate.max_inflight", t.gate.max_inflight, "max_inflight", c.max_inflight);
  visit("gate.burst", t.gate.burst, "burst", c.burst);
  visit("select.order", t.select.order, "order", c.select);
  visit("select.min_ready", t.select.min_ready, "min_ready", c.min_ready);
  visit("select.tokens_per_step", t.select.tokens_per_step, "tokens_per_step", c.tokens_per_step);
  visit("select.on_policy_min", t.select.on_policy_min, "on_policy_min", c.on_policy_min);
  visit("stale.max", t.stale.max, "stale_max", c.stale_max);
  visit("stale.measure", t.stale.measure, "measure", c.measure);
  visit("stale.action", t.stale.action, "action", c.action);
  visit("stale.check", t.stale.check, "check", c.check);
  visit("interrupt.mode", t.interrupt.mode, "interrupt", c.interrupt);
  visit("interrupt.kv", t.interrupt.kv, "kv", c.kv);
  visit("publish.pattern", t.publish.pattern, "pattern", c.pattern);
  visit("publish.rolling_width", t.publish.rolling_width, "rolling_width", c.rolling_width);
  visit("publish.ack", t.publish.ack, "ack", c.ack);
  visit("publish.deadline_s", t.publish.deadline_s, "publish_deadline_s", c.publish_deadline_s);
  visit("tail.oversample_prompts", t.tail.oversample_prompts, "oversample", c.oversample);
  visit("tail.oversample_attempts", t.tail.oversample_attempts, "oversample_attempts", c.oversample_attempts);
  visit("tail.stop", t.tail.stop, "stop", c.stop);
  visit("tail.surplus", t.tail.surplus, "surplus", c.surplus);
  visit("tail.repack_below", t.tail.repack_below, "repack_below", c.repack_below);
  visit("place.mode", t.place.mode, "place", c.place);
  visit("place.reclaim_at", t.place.reclaim_at, "reclaim_at", c.reclaim_at);
  visit("place.reclaim_adapt", t.place.reclaim_adapt, "reclaim_adapt", c.reclaim_adapt);
  visit("faults.attempts", t.faults.attempts, "attempts", c.attempts_per_group);
  visit("faults.data_attempts", t.faults.data_attempts, "data_attempts", c.data_attempts);
  visit("faults.lost_group", t.faults.lost_group, "lost_group", c.lost);
  visit("faults.min_batch_fraction", t.faults.min_batch_fraction, "min_batch_fraction", c.min_batch_fraction);
  visit("faults.consecutive_losses", t.faults.consecutive_losses, "consecutive_losses", c.consecutive_losses);
  visit("faults.call_deadline_s", t.faults.call_deadline_s, "call_deadline_s", c.call_deadline_s);
}

void to_config(std::int64_t key, std::uint32_t& field) { field = static_cast<std::uint32_t>(key); }
void to_config(double key, double& field) { field = key; }
void to_config(bool key, bool& field) { field = key; }
void to_config(double key, std::uint32_t& field) { field = key < schedule::no_bound ? static_cast<std::uint32_t>(key) : schedule::no_bound; }
template <class Enum> void to_config(const std::string& key, Enum& field) {
  const auto words = schedule::words_of<Enum>();
  const auto found = std::find(words.begin(), words.end(), key);
  if (found != words.end()) // else it is refused already
    field = static_cast<Enum>(found - words.begin());
}

void to_table(std::uint32_t field, std::int64_t& key) { key = field; }
void to_table(double field, double& key) { key = field; }
void to_table(bool field, bool& key) { key = field; }
void to_table(std::uint32_t field, double& key) { key = field == schedule::no_bound ? std::numeric_limits<double>::infinity() : field; }
template <class Enum> void to_table(Enum field, std::string& key) { key = schedule::word(field); }

} // namespace

schedule::config schedule_of(const schedule_table& table) {
  schedule::config c;
  c.groups_per_step = static_cast<std::uint32_t>(table.groups_per_step);
  if (table.drop_zero_variance)
    c.flat_groups_per_step = static_cast<std::uint32_t>(table.extra_groups_per_step > 0 ? table.extra_groups_per_step : 10 * table.groups_per_step);
  each_key(table, c, [](const char*, const auto& key, const char*, auto& field) { to_config(key, field); });
  return c;
}

schedule::config schedule_of(const pipeline& p) {
  auto c = schedule_of(p.schedule);
  c.steps = static_cast<std::uint32_t>(p.run.steps);
  c.checkpoint_every = static_cast<std::uint32_t>(p.run.checkpoint_every);
  return c;
}

schedule::workload workload_of(const pipeline& p) {
  const auto rollouts = p.of<rollout_table>();
  if (rollouts.empty())
    throw input_error(p.file.string() + ": no role of kind \"rollout\", want one to plan for");
  const auto& rollout = std::get<rollout_table>(rollouts[0]->options);
  schedule::workload w;
  w.workers = 0;
  for (const auto* role : rollouts)
    w.workers += static_cast<std::uint32_t>(std::max<std::int64_t>(1, p.processes_of(role->name)));
  w.slots = static_cast<std::uint32_t>(rollout.slots);
  w.answers_per_group = static_cast<std::uint32_t>(rollout.answers_per_prompt + (rollout.greedy_baseline ? 1 : 0));
  w.groups_per_worker = places_of(rollout, p.schedule);
  w.max_tokens = static_cast<double>(rollout.max_new_tokens);
  w.mean_tokens = w.max_tokens / 2;
  return w;
}

std::uint32_t places_of(const rollout_table& rollout, const schedule_table& schedule) {
  const auto started = schedule::answers_started(schedule_of(schedule), static_cast<std::uint32_t>(rollout.answers_per_prompt));
  const auto answers = std::int64_t{started} + (rollout.greedy_baseline ? 1 : 0);
  return static_cast<std::uint32_t>((rollout.slots + answers - 1) / answers + 1);
}

double staging_contention(const pipeline& p, std::int64_t cores) {
  if (p.schedule.place.mode == "timeshare" || cores < 1)
    return 1;
  auto threads = threads_of(p, p.policy().name, cores);
  for (const auto* role : p.of<rollout_table>()) {
    const auto placed = p.placement.roles.find(role->name);
    if (placed != p.placement.roles.end() && !placed->second.hosts.empty())
      return 1;
    const auto processes = std::max<std::int64_t>(1, p.processes_of(role->name));
    threads += processes * (threads_of(p, role->name, cores) + 1);
  }
  return std::max(1.0, static_cast<double>(threads) / static_cast<double>(cores));
}

void apply_preset(schedule_table& s, reading& into) {
  const auto names = schedule::preset_names();
  if (std::find(names.begin(), names.end(), s.preset) == names.end())
    return; // refused already
  auto defaults = schedule::preset(s.preset);
  const auto slack = defaults.stale_max - defaults.depth;
  if (defaults.bounded() && defaults.action == schedule::stale_action::wait && into.written("schedule.gate.depth") && std::isfinite(s.gate.depth))
    defaults.stale_max = static_cast<std::uint32_t>(std::ceil(s.gate.depth + slack));
  if (s.groups_per_step > 0)
    defaults.minibatches = std::min(defaults.minibatches, static_cast<std::uint32_t>(s.groups_per_step));
  if (into.written("schedule.clock.minibatches") ? s.clock.minibatches == 1 : defaults.minibatches == 1)
    defaults.min_ready = 0;
  each_key(s, defaults, [&](const std::string& path, auto& key, const char*, const auto& field) {
    const auto whole = "schedule." + path;
    if (into.written(whole) || path.starts_with("faults."))
      return;
    to_table(field, key);
    into.origins[whole] = "preset " + s.preset;
  });
}

void check_schedule(const schedule_table& s, const run_table& run, reading& into) {
  if (s.groups_per_step < 1)
    return; // refused already
  if (std::isfinite(s.stale.max) && s.stale.max != std::floor(s.stale.max))
    into.wrong(into.place("schedule.stale.max"), "schedule.stale.max: found " + number(s.stale.max) + ", want a whole number of versions, or inf");
  auto c = schedule_of(s);
  if (c.call_deadline_s >= run.stall_after_s)
    into.wrong(into.place("schedule.faults.call_deadline_s"), "schedule.faults.call_deadline_s: found " + number(c.call_deadline_s) +
                                                                  ", want less than run.stall_after_s = " + number(run.stall_after_s) +
                                                                  ": the run would call it a stall before the attempt counts as lost");
  if (c.publish_deadline_s >= run.stall_after_s)
    into.wrong(into.place("schedule.publish.deadline_s"), "schedule.publish.deadline_s: found " + number(c.publish_deadline_s) +
                                                              ", want less than run.stall_after_s = " + number(run.stall_after_s) +
                                                              ": the run would call it a stall before anybody goes on without the rollout");
  const auto found = schedule::problems(c);
  for (const auto& problem : found) {
    std::string path = "schedule." + problem.field;
    each_key(s, c, [&](const std::string& at, const auto&, const std::string& field, const auto&) {
      if (field == problem.field)
        path = "schedule." + at;
    });
    into.wrong(into.place(path), path + ": " + problem.text);
  }
}

std::vector<std::string> schedule_warnings(const pipeline& p, const vocabulary& words) {
  using schedule::stale_action;
  if (p.of<rollout_table>().empty())
    return {}; // nothing is sampled
  const auto c = schedule_of(p);
  const auto& role = p.policy();
  const auto& policy = std::get<policy_table>(role.options);
  const auto bound = schedule::field_text("stale_max", c.stale_max);
  std::vector<std::string> lines;
  const auto* algorithm = words.algorithm(policy.algorithm);
  // What is generated may be trained by later steps than the one that its weights began.
  const bool ahead = c.depth > 0 || c.warmup > 0 || (c.oversample > 1 && c.stop == schedule::tail_stop::all) ||
                     c.surplus == schedule::tail_surplus::recycle_partial || c.pattern == schedule::publish_pattern::pull;
  if (c.stale_max > 0 && ahead && policy.loss.corrections.empty() && policy.loss.proximal != "behaviour" && !(algorithm && algorithm->corrects))
    lines.push_back("schedule.stale.max = " + bound + " and roles." + role.name +
                    ".loss.corrections is empty: what older weights sampled is trained as if the newest had");
  const auto of = [](std::int64_t n, const char* thing) { return std::to_string(n) + ' ' + thing + (n == 1 ? "" : "s"); };
  const auto updates = c.minibatches * policy.updates_per_batch * policy.epochs;
  if (updates > 1 && c.depth > 0 && c.unit == schedule::lag_unit::step)
    lines.push_back("a step is " + std::to_string(updates) + " optimizer updates: the last one lies up to " +
                    (c.bounded() ? of(c.stale_max, "version") + " and " + of(updates - 1, "update") + ", together " +
                                       of(c.stale_max * updates + updates - 1, "update") + ", behind what it trains on"
                                 : "any number of versions and " + of(updates - 1, "update") + " behind what it trains on"));
  const bool takes_out = c.action == stale_action::drop || c.action == stale_action::requeue;
  if (c.bounded() && takes_out)
    lines.push_back("schedule.stale.action = " + schedule::word(c.action) +
                    " gives up what took longest: where lengths differ much, shorter answers are trained than were generated; wait does not choose");
  const auto within = c.bounded() ? static_cast<double>(schedule::age_limit(c).trained_within(0)) / c.groups_per_step - 1 : 0;
  if (c.bounded() && c.action != stale_action::wait && c.depth > within)
    lines.push_back("schedule.gate.depth = " + number(c.depth) + " is beyond stale.max = " + bound +
                    (c.unit == schedule::lag_unit::step ? "" : ' ' + schedule::word(c.unit) + "s, " + number(within) + " steps") +
                    ": more is generated than can be trained in time, and " + schedule::word(c.action) + " has the rest");
  if (c.surplus == schedule::tail_surplus::discard)
    lines.push_back("schedule.tail.surplus = discard gives up what took longest: where lengths differ much, shorter answers are trained than were generated; "
                    "recycle_partial and long_round do not choose");
  if (c.oversample_attempts > 1)
    lines.push_back("schedule.tail.oversample_attempts = " + number(c.oversample_attempts) +
                    " keeps the shortest answers of each group: shorter answers are trained than the policy gives");
  if (c.max_inflight > 0 && c.max_inflight < c.groups_per_step)
    lines.push_back("schedule.gate.max_inflight = " + std::to_string(c.max_inflight) + " is less than groups_per_step = " + std::to_string(c.groups_per_step) +
                    ": a step's groups never generate side by side");
  return lines;
}

std::vector<std::pair<std::string, std::string>> schedule_keys(const schedule::config& settings) {
  std::vector<std::pair<std::string, std::string>> keys;
  schedule_table table;
  each_key(table, settings, [&](const std::string& path, const auto& key, const std::string& name, const auto& field) {
    const auto text = schedule::field_text(name, field);
    keys.emplace_back(path, std::is_same_v<std::decay_t<decltype(key)>, std::string> ? in_quotes(text) : text);
  });
  return keys;
}

} // namespace millrace::pipeline
