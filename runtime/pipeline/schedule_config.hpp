#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/pipeline/reader.hpp"
#include "runtime/schedule/config.hpp"
#include "runtime/schedule/workload.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// What the scheduler is told: `[schedule]` and what `[run]` says of steps and checkpoints.
schedule::config schedule_of(const pipeline& p);
schedule::config schedule_of(const schedule_table& table);

/// Groups that a rollout's process takes at once: one more than fit its slots, so that a free slot waits for no
/// message.
std::uint32_t places_of(const rollout_table& rollout, const schedule_table& schedule);

/// What the pipeline itself says of its workload: workers, slots, answers and the longest answer. Costs are none of it.
/// @throws input_error for a pipeline without a rollout
schedule::workload workload_of(const pipeline& p);

/// `workload::layout_contention` where everything runs on one host: how many threads decode, train and lay weights out
/// at once, over the cores they share; 1 if there are enough, or if rollouts live on other hosts or never run beside
/// training.
double layout_contention(const pipeline& p, std::int64_t cores);

/// Fills what the file does not say from the preset.
void apply_preset(schedule_table& schedule, reading& into);

/// Refuses what cannot run, each with its reason.
void check_schedule(const schedule_table& schedule, const run_table& run, reading& into);

/// What can run and seldom does what a person wants, a sentence each: staleness without a correction, lags that add up,
/// bounds that choose what is trained by its length.
std::vector<std::string> schedule_warnings(const pipeline& p, const vocabulary& words = built_in_vocabulary());

/// The schedule as `key = value` by the key's path below `schedule`, in the order of the tables: numbers and words as
/// in TOML.
std::vector<std::pair<std::string, std::string>> schedule_keys(const schedule::config& settings);

} // namespace millrace::pipeline
