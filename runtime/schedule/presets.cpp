#include "runtime/schedule/presets.hpp"

#include "runtime/words/input_error.hpp"

namespace millrace::schedule {

namespace {

/// The words of the enums stand alone here, and nowhere else.
namespace preset_schedules {

using enum stale_action;
using enum select_order;
using enum interrupt_mode;

/// Production `depth` steps ahead, at most `max` versions old.
config with(double depth, double max, stale_action action, select_order order, interrupt_mode interrupt) {
  config c;
  c.gate.depth = depth;
  c.stale.max = max;
  c.stale.action = action;
  c.select.order = order;
  c.interrupt.mode = interrupt;
  return c;
}

config synchronous() {
  config c = with(0, 0, wait, in_order, drain);
  c.place.mode = place_mode::timeshare;
  return c;
}

config streaming() {
  config c = with(0, 0, wait, ready, drain);
  c.clock.minibatches = 4;
  c.select.min_ready = 1;
  return c;
}

config pipeline_rl() {
  config c = with(2, unlimited, train, ready, pause);
  c.clock.minibatches = 4;
  c.select.min_ready = 1;
  return c;
}

config nemo_windowed() {
  config c = with(unlimited, 1, drop, freshest, pause);
  c.stale.measure = stale_measure::born;
  c.stale.check = stale_check::publish;
  return c;
}

config prime_rl() {
  config c = with(1, 8, drop, ready, pause);
  c.stale.measure = stale_measure::born;
  c.stale.check = stale_check::publish;
  return c;
}

config nemo_ready_first() {
  return with(1, unlimited, train, oldest, pause);
}

config verl_v1() {
  config c = with(1, 7, drop, oldest, abort_resume);
  c.stale.measure = stale_measure::born;
  c.clock.minibatches = 4;
  c.select.min_ready = 1;
  return c;
}

config roll() {
  config c = with(1, 1, drop, oldest, abort_resume);
  c.stale.check = stale_check::publish;
  c.stale.measure = stale_measure::born;
  c.tail.oversample_prompts = 1.25;
  return c;
}

config laminar() {
  config c = with(1, unlimited, train, ready, drain);
  c.publish.pattern = publish_pattern::pull;
  c.tail.repack_below = 0.5;
  return c;
}

config round_of(double oversample, tail_surplus surplus, double max, stale_action action) {
  config c = with(0, max, action, oldest, drain);
  c.tail.oversample_prompts = oversample;
  c.tail.stop = tail_stop::first_k;
  c.tail.surplus = surplus;
  c.place.mode = place_mode::timeshare;
  return c;
}

config roll_packer() {
  config c = round_of(1.25, tail_surplus::long_round, 0, wait);
  c.tail.oversample_attempts = 1.25;
  return c;
}

config impala() {
  config c = with(unlimited, 1000, mask_tokens, ready, drain);
  c.publish.pattern = publish_pattern::pull;
  return c;
}

config stream_rl() {
  config c = with(1, 1, wait, length_bucket, pause);
  c.clock.minibatches = 4;
  c.select.min_ready = 1;
  return c;
}

const std::vector<preset_row>& rows() {
  static const std::vector<preset_row> all{
      {"synchronous", "generate a batch, train it, publish, in turn",
       "verl synchronous trainer; AReaL max_head_offpolicyness = 0", synchronous()},
      {"streaming", "on-policy, but updates begin while the step's other groups are still generated",
       "verl fully_async mode 2; SkyRL #1204", streaming()},
      {"one_step_off", "the next step's batch is generated while this one is trained",
       "verl one_step_off_policy; slime train_async; OpenRLHF async_queue_size = 1", with(1, 1, wait, in_order, drain)},
      {"bounded",
       "generation runs two steps ahead, weights flip between two tokens, nothing is trained that is older than 3",
       "ours", with(2, 3, wait, oldest, pause)},
      {"areal",
       "capacity (eta + v + 1) B over everything accepted or running, running answers cut off and continued under new "
       "weights",
       "AReaL staleness_manager.py", with(4, unlimited, train, oldest, abort_resume)},
      {"skyrl", "capacity (S + step) B, completion order, weights flip under running answers", "SkyRL fully_async",
       with(4, unlimited, train, ready, pause)},
      {"pipeline_rl", "a stream with a lead of max_lag samples, small updates, weights in flight at every step",
       "PipelineRL actor.py", pipeline_rl()},
      {"prime_rl",
       "one step of lead, in the order of completion; groups more than 8 steps old are dropped, running or queued",
       "prime-rl train_sink.py, dispatcher.py", prime_rl()},
      {"nemo_in_order", "every group is for one step; production waits at one step of lead",
       "NeMo-RL staleness_sampler.py, in_order", with(1, 1, wait, in_order, pause)},
      {"nemo_weight_fifo", "the oldest weights first, production waits at one step of lead",
       "NeMo-RL staleness_sampler.py, weight_fifo", with(1, 1, wait, oldest, pause)},
      {"nemo_windowed",
       "production never waits; what leaves the window of one version is aborted or dropped, the freshest is trained "
       "first",
       "NeMo-RL staleness_sampler.py, windowed with sample_freshest_first", nemo_windowed()},
      {"nemo_ready_first",
       "whatever is ready, what was started first before others; production waits at one step of lead",
       "NeMo-RL staleness_sampler.py, ready_first", nemo_ready_first()},
      {"verl_v1",
       "one batch of lead, oldest start first, groups that span more than 8 steps evicted and refilled, updates as a "
       "stream",
       "verl V1 replay_buffer.py", verl_v1()},
      {"roll", "ratio alpha of lead and extra prompts; prompts started more than alpha steps ago are aborted",
       "ROLL generate_scheduler.py", roll()},
      {"laminar", "each rollout takes new weights when its answers have ended; the last ones move together", "Laminar",
       laminar()},
      {"roll_packer",
       "on-policy rounds: more prompts and answers than needed, the shortest answers and the first B prompts make the "
       "batch, the others get a round of their own",
       "RollPacker", roll_packer()},
      {"april", "rounds: more prompts than needed, the first B make the batch, the others go on in the next round",
       "APRIL; Kimi k1.5; slime partial_rollout", round_of(1.5, tail_surplus::recycle_partial, unlimited, train)},
      {"kimi_researcher",
       "one step of lead, running answers continued under new weights; what is too old keeps its reward and trains "
       "nothing",
       "Kimi-Researcher; verl AsyncPartialToolAgentLoop", with(1, 2, withhold, ready, abort_resume)},
      {"impala",
       "actors never wait: each takes new weights between two answers; tokens more than 1000 steps old are masked",
       "IMPALA; Sample Factory max_policy_lag", impala()},
      {"stream_rl", "one step of lead as a stream of updates of answers alike in length", "StreamRL; AsyncFlow",
       stream_rl()},
  };
  return all;
}

} // namespace preset_schedules

using preset_schedules::rows;

} // namespace

std::span<const preset_row> presets() {
  return rows();
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const auto& row : rows())
    names.emplace_back(row.name);
  return names;
}

const config& preset(std::string_view name) {
  std::string known;
  for (const auto& row : rows()) {
    if (row.name == name)
      return row.schedule;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw input_error("schedule preset '" + std::string(name) + "', want one of " + known);
}

} // namespace millrace::schedule
