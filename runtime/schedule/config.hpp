#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::schedule {

/// Which ready groups make the next batch.
enum class select_order : std::uint8_t {
  in_order, ///< the lowest group ids that are live; the batch waits for each of them, so its content never depends on timing
  oldest,   ///< the ready groups with the oldest `born`, then the lowest id; others may still be generating
};

/// What the staleness bound does.
enum class stale_action : std::uint8_t {
  wait,  ///< a cut waits whenever it would leave a group behind that could no longer be trained in time (earliest deadline first)
  train, ///< no bound: late groups are trained and show in the histogram (AReaL's and SkyRL's count bound)
};

/// Everything that decides. `v` is the newest version that every rollout worker runs, `s` the number of steps trained.
struct config {
  std::uint32_t groups_per_step = 4; ///< B, >= 1
  std::uint32_t steps = 1;           ///< optimizer steps of the whole run, >= 1
  double depth = 0;                  ///< lead of production in steps, finite, >= 0: a group starts while live + consumed < (v + 1 + depth) B
  std::uint32_t stale_max = 0;       ///< bound on s - born when a group is cut, in versions; `wait` wants depth <= stale_max
  stale_action action = stale_action::wait;
  select_order select = select_order::in_order;
  bool in_flight_update = false;       ///< true: weights flip under running generation; false: a worker drains before it flips
  std::uint32_t checkpoint_every = 0;  ///< steps; 0: only when the run ends or is stopped
  std::uint32_t flat_groups_per_step = 0; ///< groups whose rewards are all equal that are replaced in a step; 0: none is
  std::uint32_t attempts_per_group = 5; ///< attempts lost to infrastructure before the group is dropped, >= 1

  bool operator==(const config&) const = default;
};

/// `synchronous`, `one_step_off`, `bounded`.
std::span<const std::string_view> preset_names();

/// The schedule of that name; only `groups_per_step`, `steps`, `checkpoint_every` and `attempts_per_group` are left to the caller.
///
///     preset         depth  stale_max  action  select    in_flight_update
///     synchronous    0      0          wait    in_order  no
///     one_step_off   1      1          wait    in_order  no
///     bounded        1      4          wait    oldest    yes
///
/// @throws input_error for any other name
config preset(std::string_view name);

/// One sentence for each thing that is wrong with `wanted`; empty when it can be run. Names are those of the fields.
std::vector<std::string> problems(const config& wanted);

std::string_view to_string(select_order order);
std::string_view to_string(stale_action action);

} // namespace millrace::schedule
