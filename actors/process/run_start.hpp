#pragma once

#include "runtime/messages/prompts.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/run_files/data_digests.hpp"
#include "runtime/run_files/run_folder.hpp"
#include "runtime/schedule/scheduler.hpp"
#include "runtime/supervision/step_figures.hpp"

#include <cstdint>
#include <filesystem>
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
};

/// Why a run goes on from a checkpoint by itself.
struct lost_learner {
  std::string line;       ///< who is gone, and how
  std::int64_t steps = 0; ///< that were trained until then
};

/// How a run goes on from a checkpoint: as a person says to `resume`, or as its coordinator does.
struct resumption {
  run_files::changed_data data = run_files::changed_data::refused;
  std::int64_t before = std::numeric_limits<std::int64_t>::max(); ///< only checkpoints of earlier steps
  std::optional<lost_learner> after = {};                         ///< nothing: a person asked for it
};

/// The data files that roles of this host read.
run_files::data_files data_files_of(const pipeline::pipeline& p);

/// From the beginning. @throws input_error
run_start first_start(const pipeline::pipeline& p);

/// From the newest checkpoint of the folder that is whole and can be read; the ones left out for it are named in the
/// log, a line each, and so is where the run goes on. From the beginning if the run has none.
/// @throws input_error if it has some, and none can be read
run_start newest_start(const pipeline::pipeline& p, const run_files::run_folder& folder, const resumption& how);

} // namespace millrace::actors
