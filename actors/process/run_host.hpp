#pragma once

#include "actors/process/run_start.hpp"

namespace millrace::actors {

/// What a script goes by: the run is not at its end, and `millrace resume` goes on with it.
inline constexpr int stopped_status = 3;
inline constexpr int failed_status = 1;

/// Runs a pipeline to its end: roles without a placement in this process, the others in processes that it starts and
/// supervises. Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 stop the run with a checkpoint. A second Ctrl-C ends the program at
/// once, without a checkpoint.
///
/// A process may die whose state only the last checkpoint has (`schedule.faults.learner`), or a role may not load what
/// a whole checkpoint holds. Then everything ends, and the run goes on here, from the newest checkpoint that is left,
/// as another session of its folder.
///
/// @param folder     new, or opened to go on with
/// @param start      what it begins with
/// @returns the exit status: 0 finished, `stopped_status` stopped by a signal before its end, `failed_status` failed,
///          and has said why. If a library hangs at the end, the process exits with it after seconds.
/// @throws input_error for what is wrong before anything has started
int run_pipeline(const pipeline::pipeline& p, run_files::run_folder& folder, run_start start);

/// Writes `resolved.toml` and runs the pipeline from its beginning. If it fails before its first step, only its log and
/// its status stay in the folder, which can be used again.
int run_new(const pipeline::pipeline& p, run_files::run_folder folder);

} // namespace millrace::actors
