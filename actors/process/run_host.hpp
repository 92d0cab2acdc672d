#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/run_files/run_folder.hpp"

#include <filesystem>
#include <optional>
#include <string>

namespace millrace::actors {

/// Runs a pipeline to its end: roles without a placement in this process, the others in processes that it starts and
/// supervises. Ctrl-C stops the run and writes a checkpoint. A second Ctrl-C ends the program at once, without a
/// checkpoint.
///
/// @param folder     new, or opened to go on with
/// @param checkpoint to go on from; "" = from the beginning
/// @returns the exit status: 0 finished or stopped by Ctrl-C
/// @throws input_error for what is wrong before anything has started; run_failed
int run_pipeline(const pipeline::pipeline& p, run_files::run_folder folder, const std::filesystem::path& checkpoint);

} // namespace millrace::actors
