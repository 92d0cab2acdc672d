#pragma once

#include "runtime/schedule/presets.hpp"

#include <limits>
#include <random>

namespace millrace::schedule {

/// A schedule of any kind that can be run: half of them a preset, the others drawn key by key.
inline config random_config(std::mt19937_64& random) {
  const auto up_to = [&](std::uint32_t high) { return static_cast<std::uint32_t>(random() % (high + 1)); };
  const auto chance = [&](double p) { return static_cast<double>(random() >> 11) * 0x1p-53 < p; };
  for (;;) {
    config c;
    if (chance(0.5)) {
      c = presets()[random() % presets().size()].schedule;
      c.groups_per_step = 1 + up_to(5);
      c.clock.minibatches = std::min(c.clock.minibatches, c.groups_per_step);
      if (c.clock.minibatches == 1)
        c.select.min_ready = 0;
    } else {
      constexpr double depths[] = {0, 0.3, 0.5, 1, 1.5, 2, 4, std::numeric_limits<double>::infinity()};
      c.groups_per_step = 1 + up_to(5);
      c.gate.depth = depths[up_to(7)];
      c.gate.warmup = chance(0.2) ? up_to(4) / 2.0 : 0;
      c.stale.max = chance(0.3) ? unlimited : up_to(5);
      c.select.order = static_cast<select_order>(up_to(4));
      c.stale.action = static_cast<stale_action>(c.stale.max == unlimited ? 5 : up_to(4));
      c.stale.measure = static_cast<stale_measure>(chance(0.7) ? 0 : up_to(2));
      c.stale.check = static_cast<stale_check>(up_to(1));
      c.interrupt.mode = static_cast<interrupt_mode>(up_to(3));
      c.interrupt.kv = static_cast<kv_on_flip>(c.interrupt.mode == interrupt_mode::pause ? up_to(1) : 0);
      c.publish.pattern = static_cast<publish_pattern>(chance(0.5) ? 0 : up_to(2));
      c.publish.rolling_width = c.publish.pattern == publish_pattern::rolling ? 1 + up_to(1) : 1;
      c.publish.ack = c.publish.pattern != publish_pattern::pull && chance(0.2) ? 1 + up_to(1) : 0;
      c.publish.deadline_s = c.publish.pattern != publish_pattern::pull && chance(0.3) ? 1 + up_to(40) : 0;
      c.clock.minibatches = chance(0.6) ? 1 : 1 + up_to(c.groups_per_step - 1);
      c.select.min_ready = c.clock.minibatches > 1 ? up_to(c.groups_per_step) : 0;
      c.clock.publish_every = chance(0.7) ? 1 : 1 + up_to(2);
      c.gate.max_inflight = chance(0.8) ? 0 : 1 + up_to(3);
      if (chance(0.15))
        c.gate.burst = (1 + up_to(9)) / 10.0;
      c.clock.unit = chance(0.6) ? lag_unit::step : static_cast<lag_unit>(1 + up_to(1));
      if (c.clock.unit != lag_unit::step && c.stale.max != unlimited)
        c.stale.max = up_to(24);
      c.select.tokens_per_step = chance(0.85) ? 0 : 20 + up_to(200);
      c.select.on_policy_min = chance(0.85) ? 0 : up_to(10) / 10.0;
      c.faults.call_deadline_s = chance(0.8) ? 0 : 10 + up_to(200);
      c.tail.oversample_prompts = chance(0.5) ? 1 : 1 + up_to(4) / 4.0;
      c.tail.oversample_attempts = chance(0.8) ? 1 : 1 + up_to(4) / 4.0;
      c.tail.stop = static_cast<tail_stop>(chance(0.7) ? 0 : 1);
      c.tail.surplus = static_cast<tail_surplus>(c.tail.stop == tail_stop::all ? 0 : 1 + up_to(2));
      c.place.mode = static_cast<place_mode>(chance(0.6) ? 0 : 1 + up_to(1));
      c.place.reclaim_at = c.place.mode == place_mode::lend ? (1 + up_to(3)) / 4.0 : 0;
      c.place.reclaim_adapt = c.place.mode == place_mode::lend && c.groups_per_step > 1 && chance(0.5);
      c.tail.repack_below = c.publish.pattern == publish_pattern::pull && chance(0.5) ? 0.75 : 0;
      c.faults.lost_group = static_cast<lost_group>(chance(0.7) ? 0 : up_to(2));
      c.faults.min_batch_fraction = c.faults.lost_group == lost_group::shrink && chance(0.5) ? 0.5 : 0;
      c.faults.consecutive_losses = chance(0.8) ? 0 : 2 + up_to(3);
      c.faults.data_attempts = 1 + up_to(1);
    }
    c.steps = 1 + up_to(24);
    c.checkpoint_every = up_to(3);
    c.flat_groups_per_step = chance(0.5) || c.faults.lost_group == lost_group::shrink ? 0 : up_to(4);
    c.faults.attempts = 1 + up_to(4);
    if (problems(c).empty())
      return c;
  }
}

} // namespace millrace::schedule
