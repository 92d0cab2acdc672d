#pragma once

#include "runtime/messages/prompts.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/run_files/data_digests.hpp"
#include "runtime/run_files/run_folder.hpp"
#include "runtime/schedule/scheduler.hpp"
#include "runtime/supervision/step_figures.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>

namespace millrace::actors {

/// What one session of a run begins with: nothing, or what a checkpoint holds.
struct run_start {
  std::filesystem::path checkpoint; ///< "" = from the models
  std::shared_ptr<schedule::scheduler> scheduler;
  std::optional<source_position> position;
  supervision::step_figures within_step; ///< of a half-trained step
  run_files::changed_data data = run_files::changed_data::refused;
  /// Called, before this process gives up, with the reason why a role did not start from the checkpoint.
  std::function<void(const std::string& why)> without_checkpoint = {};
};

/// What a person may say to `resume`.
struct resumption {
  run_files::changed_data data = run_files::changed_data::refused;
  std::int64_t before = std::numeric_limits<std::int64_t>::max(); ///< only checkpoints of earlier steps
  /// Goes on from a checkpoint before `step`, in this process's place. It returns if that cannot be.
  std::function<void(std::int64_t step)> again = {};
};

/// The data files that roles of this host read.
run_files::data_files data_files_of(const pipeline::pipeline& p);

/// From the beginning. @throws input_error
run_start first_start(const pipeline::pipeline& p);

/// From the newest checkpoint of the folder that is whole and can be read; the ones left out for it are named in the
/// log, a line each. From the beginning if the run has none. If a role does not load what a whole checkpoint holds, the
/// run goes on from the one before it, in a new process.
/// @throws input_error if it has some, and none can be read
run_start newest_start(const pipeline::pipeline& p, const run_files::run_folder& folder, const resumption& how);

} // namespace millrace::actors
