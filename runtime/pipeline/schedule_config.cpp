#include "runtime/pipeline/schedule_config.hpp"

#include "runtime/pipeline/wording.hpp"
#include "runtime/schedule/admission.hpp"
#include "runtime/schedule/age_limit.hpp"
#include "runtime/schedule/presets.hpp"
#include "runtime/words/decimal.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <cmath>

namespace millrace::pipeline {

std::vector<std::string> schedule_table::schedule_presets() {
  return schedule::preset_names();
}

schedule::config schedule_of(const schedule_table& table) {
  schedule::config c;
  static_cast<schedule::tables&>(c) = table;
  c.groups_per_step = static_cast<std::uint32_t>(table.groups_per_step);
  if (table.drop_zero_variance)
    c.flat_groups_per_step = static_cast<std::uint32_t>(table.extra_groups_per_step > 0 ? table.extra_groups_per_step
                                                                                        : 10 * table.groups_per_step);
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
  if (!rollout.environment.empty()) {
    w.max_turns = static_cast<double>(std::get<environment_table>(p.at(rollout.environment).options).max_turns);
    w.turns = std::max(1.0, w.max_turns / 2);
  }
  return w;
}

std::uint32_t places_of(const rollout_table& rollout, const schedule_table& schedule) {
  const auto started =
      schedule::answers_started(schedule_of(schedule), static_cast<std::uint32_t>(rollout.answers_per_prompt));
  const auto answers = std::int64_t{started} + (rollout.greedy_baseline ? 1 : 0);
  const auto groups_of = [answers](std::int64_t open) { return (open + answers - 1) / answers; };
  return static_cast<std::uint32_t>(std::max(groups_of(rollout.slots) + 1, groups_of(rollout.open_episodes)));
}

double layout_contention(const pipeline& p, std::int64_t cores) {
  if (p.schedule.place.mode == schedule::place_mode::timeshare || cores < 1)
    return 1;
  auto threads = threads_of(p, p.policy().name, cores);
  if (p.processes_of(p.policy().name) <= 1) // passes side by side have a thread each
    threads = std::max(threads, std::get<policy_table>(p.policy().options).micro_batches_at_once);
  for (const auto* role : p.of<rollout_table>()) {
    if (!p.is_here(role->name))
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
  schedule::tables filled = schedule::preset(s.preset);
  const auto slack = filled.stale.max - filled.gate.depth;
  if (filled.stale.bounded() && filled.stale.action == schedule::stale_action::wait
      && into.written("schedule.gate.depth") && std::isfinite(s.gate.depth))
    filled.stale.max = std::ceil(s.gate.depth + slack);
  if (s.groups_per_step > 0)
    filled.clock.minibatches = std::min(filled.clock.minibatches, static_cast<std::uint32_t>(s.groups_per_step));
  if ((into.written("schedule.clock.minibatches") ? s.clock : filled.clock).minibatches == 1)
    filled.select.min_ready = 0;
  filled.faults = s.faults;
  schedule::tables& said = s;
  schedule::each_field_of_both(filled, said, [&](const std::string& path, auto& field, const auto& in_file) {
    const auto whole = "schedule." + path;
    if (into.written(whole))
      field = in_file;
    else if (!path.starts_with("faults."))
      into.origins[whole] = "preset " + s.preset;
  });
  said = filled;
}

void check_schedule(const schedule_table& s, const run_table& run, reading& into) {
  if (s.groups_per_step < 1)
    return; // refused already
  const auto stall = decimal(run.stall_after_s);
  const auto refuse_after_stall = [&](const std::string& path, double deadline_s, const std::string& before) {
    if (deadline_s >= run.stall_after_s)
      into.wrong(into.place(path), path + ": found " + decimal(deadline_s) + ", want less than run.stall_after_s = "
                                       + stall + ": the run would call it a stall before " + before);
  };
  refuse_after_stall("schedule.faults.call_deadline_s", s.faults.call_deadline_s, "the attempt counts as lost");
  refuse_after_stall("schedule.publish.deadline_s", s.publish.deadline_s, "anybody goes on without the rollout");
  for (const auto& problem : schedule::problems(schedule_of(s))) {
    const auto path = "schedule." + problem.field;
    into.wrong(into.place(path), path + ": " + problem.text);
  }
}

namespace {

/// Ranks that have nothing to do.
std::vector<std::string> rank_warnings(const pipeline& p, const schedule::config& c) {
  std::vector<std::string> lines;
  for (const auto& role : p.roles) {
    const auto* policy = std::get_if<policy_table>(&role.options);
    const auto updates = c.clock.minibatches * (policy ? policy->updates_per_batch : 1);
    const auto groups = std::max<std::int64_t>(1, static_cast<std::int64_t>(c.groups_per_step) / updates);
    if (const auto shard = p.shard_of(role.name); shard != sharding::none && p.processes_of(role.name) <= 1)
      lines.push_back("placement." + role.name + ".shard = " + word(shard) + ": one process has nobody to share with");
    if (const auto ranks = p.processes_of(role.name); role.ranks() && ranks > groups)
      lines.push_back("placement." + role.name + ".processes = " + std::to_string(ranks) + ": an update has "
                      + std::to_string(groups) + (groups == 1 ? " group" : " groups")
                      + "; ranks beyond its micro-batches (roles." + role.name
                      + ".micro_batch_tokens) have nothing to do");
  }
  return lines;
}

} // namespace

std::vector<std::string> schedule_warnings(const pipeline& p, const vocabulary& words) {
  using schedule::stale_action;
  const auto c = schedule_of(p);
  auto lines = rank_warnings(p, c);
  if (p.of<rollout_table>().empty())
    return lines; // nothing is sampled
  const auto& role = p.policy();
  const auto& policy = std::get<policy_table>(role.options);
  const auto bound = decimal(c.stale.max);
  const auto* algorithm = words.algorithm(policy.algorithm);
  // What is generated may be trained by later steps than the one that its weights began.
  const bool ahead = c.gate.depth > 0 || c.gate.warmup > 0
                     || (c.tail.oversample_prompts > 1 && c.tail.stop == schedule::tail_stop::all)
                     || c.tail.surplus == schedule::tail_surplus::recycle_partial
                     || c.publish.pattern == schedule::publish_pattern::pull;
  if (c.stale.max > 0 && ahead && policy.loss.corrections.empty() && policy.loss.proximal != "behaviour"
      && !(algorithm && algorithm->corrects))
    lines.push_back("schedule.stale.max = " + bound + " and roles." + role.name
                    + ".loss.corrections is empty: what older weights sampled is trained as if the newest had");
  const auto of = [](std::int64_t n, const char* thing) {
    return std::to_string(n) + ' ' + thing + (n == 1 ? "" : "s");
  };
  const auto versions = c.stale.bounded() ? static_cast<std::int64_t>(c.stale.max) : 0;
  const auto updates = c.clock.minibatches * policy.updates_per_batch * policy.epochs;
  if (updates > 1 && c.gate.depth > 0 && c.clock.unit == schedule::lag_unit::step)
    lines.push_back("a step is " + std::to_string(updates) + " optimizer updates: the last one lies up to "
                    + (c.stale.bounded()
                           ? of(versions, "version") + " and " + of(updates - 1, "update") + ", together "
                                 + of(versions * updates + updates - 1, "update") + ", behind what it trains on"
                           : "any number of versions and " + of(updates - 1, "update") + " behind what it trains on"));
  const bool takes_out = c.stale.action == stale_action::drop || c.stale.action == stale_action::requeue;
  if (c.stale.bounded() && takes_out)
    lines.push_back("schedule.stale.action = " + word(c.stale.action)
                    + " gives up what took longest: where lengths differ much, shorter answers are trained than were "
                      "generated; wait does not choose");
  const auto within =
      c.stale.bounded() ? static_cast<double>(schedule::age_limit(c).trained_within(0)) / c.groups_per_step - 1 : 0;
  if (c.stale.bounded() && c.stale.action != stale_action::wait && c.gate.depth > within)
    lines.push_back(
        "schedule.gate.depth = " + decimal(c.gate.depth) + " is beyond stale.max = " + bound
        + (c.clock.unit == schedule::lag_unit::step ? ""
                                                    : ' ' + word(c.clock.unit) + "s, " + decimal(within) + " steps")
        + ": generation runs further ahead than a group may be old, so some groups come too late and action "
        + word(c.stale.action) + " applies to them");
  if (c.tail.surplus == schedule::tail_surplus::discard)
    lines.push_back("schedule.tail.surplus = discard gives up what took longest: where lengths differ much, shorter "
                    "answers are trained than were generated; "
                    "recycle_partial and long_round do not choose");
  if (c.tail.oversample_attempts > 1)
    lines.push_back("schedule.tail.oversample_attempts = " + decimal(c.tail.oversample_attempts)
                    + " keeps the shortest answers of each group: shorter answers are trained than the policy gives");
  if (c.gate.max_inflight > 0 && c.gate.max_inflight < c.groups_per_step)
    lines.push_back("schedule.gate.max_inflight = " + std::to_string(c.gate.max_inflight)
                    + " is less than groups_per_step = " + std::to_string(c.groups_per_step)
                    + ": a step's groups never generate side by side");
  return lines;
}

std::vector<std::pair<std::string, std::string>> schedule_keys(const schedule::config& settings) {
  std::vector<std::pair<std::string, std::string>> keys;
  const schedule::tables& tables = settings;
  schedule::each_field(tables, [&](const std::string& path, const auto& field, const limits&, const char*) {
    const auto text = schedule::field_text(field);
    keys.emplace_back(path, std::is_enum_v<std::decay_t<decltype(field)>> ? in_quotes(text) : text);
  });
  return keys;
}

} // namespace millrace::pipeline
