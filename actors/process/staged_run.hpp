#pragma once

#include "actors/process/run_start.hpp"
#include "runtime/pipeline/stages.hpp"
#include "runtime/run_files/run_folder.hpp"

#include <filesystem>
#include <vector>

namespace millrace::actors {

/// The folder of the stage at `index` (from 0) in the run's: `2-reward_model`.
std::filesystem::path folder_of_stage(const std::filesystem::path& run, const std::vector<pipeline::stage>& stages,
                                      std::size_t index);

/// Whether the stage in this folder came to its end.
bool is_finished(const std::filesystem::path& stage_folder);

/// Runs the stages in turn, each as `run_pipeline` in a folder of its own. A finished stage is passed over; one that
/// has begun goes on from its last checkpoint. A model that is "stage:NAME" is read from that stage's best checkpoint
/// where it keeps one, else from its last.
///
/// @param folder of the whole run, which holds its lock; `resolved.toml` is written
/// @returns the exit status, as `run_pipeline`
/// @throws input_error for what is wrong before a stage has started, naming the stage
int run_stages(const std::vector<pipeline::stage>& stages, const run_files::run_folder& folder, const resumption& how);

} // namespace millrace::actors
