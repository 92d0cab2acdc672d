#pragma once

#include "runtime/messages/prompts.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/run_files/data_digests.hpp"
#include "runtime/run_files/run_folder.hpp"
#include "runtime/schedule/scheduler.hpp"
#include "runtime/supervision/step_figures.hpp"

#include <filesystem>
#include <memory>
#include <optional>

namespace millrace::actors {

/// What one session of a run begins with: nothing, or what a checkpoint holds.
struct run_start {
  std::filesystem::path checkpoint; ///< "" = from the models
  std::shared_ptr<schedule::scheduler> scheduler;
  std::optional<source_position> position;
  supervision::step_figures within_step; ///< of a half-trained step
  run_files::changed_data data = run_files::changed_data::refused;
};

/// The data files that roles of this host read.
run_files::data_files data_files_of(const pipeline::pipeline& p);

/// From the beginning. @throws input_error
run_start first_start(const pipeline::pipeline& p);

/// From the newest checkpoint of the folder that is whole and can be read; the ones left out for it are named in the
/// log, a line each. From the beginning if the run has none.
/// @throws input_error if it has some, and none can be read
run_start newest_start(const pipeline::pipeline& p, const run_files::run_folder& folder, run_files::changed_data data);

} // namespace millrace::actors
