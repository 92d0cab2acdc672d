#pragma once

#include "runtime/run_files/storage.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::run_files {

/// The folder of one run, held by one process at a time (flock on `lock`, released by the kernel when it dies).
///
///     resolved.toml  data.json  status.json  log.txt  metrics.jsonl  replay.jsonl  events.out.tfevents.*
///     checkpoints/step-000042/ trajectories-1.jsonl.zst  trace.json                 (session 2, the first that goes on
///     from a checkpoint: trajectories-2, trace-2) resolved-1.toml                          (the pipeline up to session
///     1, if a resume changed it)  newest_groups.jsonl
///
/// A folder is a run once `resolved.toml` is in it: write that first.
class run_folder {
public:
  /// Makes `path` (with its parents) for a new run.
  /// @throws input_error if it already holds a run, is held by another process, holds foreign files, or cannot be
  ///         written: one line that says what to do instead
  static run_folder create(const std::filesystem::path& path);

  /// Opens the run in `path` to go on with it. @throws input_error if it is not a run's folder, is held, or cannot be
  /// written
  static run_folder open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }

  /// 1 for a new run, one more each time that it goes on from a checkpoint.
  int session() const { return session_; }

  /// The run goes on from a checkpoint, in this process.
  void begin_session() { ++session_; }

  /// From this session on the run is this pipeline. The pipeline of the sessions before stays beside it.
  void change_pipeline(std::string_view resolved) const;

  std::filesystem::path resolved() const { return path_ / "resolved.toml"; }

  std::filesystem::path data() const { return path_ / "data.json"; }

  std::filesystem::path status() const { return path_ / "status.json"; }

  std::filesystem::path log() const { return path_ / "log.txt"; }

  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }

  std::filesystem::path step_records() const { return path_ / "replay.jsonl"; }

  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }

  std::filesystem::path trace() const;
  std::filesystem::path trajectories() const;

private:
  run_folder(std::filesystem::path path, descriptor lock, int session);
  std::filesystem::path path_;
  descriptor lock_;
  int session_;
};

/// The pipeline that one session of the run in `folder` ran, from 1.
std::filesystem::path resolved_of(const std::filesystem::path& folder, int session);

/// The trace and the trajectories of one session of the run in `folder`, from 1.
std::filesystem::path trace_of(const std::filesystem::path& folder, int session);
std::filesystem::path trajectories_of(const std::filesystem::path& folder, int session);

/// A few of the groups trained last, with the tokens of their answers; replaced about once a second.
std::filesystem::path newest_groups_of(const std::filesystem::path& folder);

/// `runs/<name>-<date>-<n>` with the first n from 1 that is free; `date` as 2026-11-22.
std::filesystem::path default_run_path(const std::filesystem::path& runs, std::string_view name, std::string_view date);
/// Today's date in local time, as `default_run_path` wants it.
std::string today();

/// Removes the files of a run that ended before its first step, except its log and its status, so that the folder can
/// be used again. Does nothing if the run has trained a step or written a checkpoint.
void forget_unstarted_run(const std::filesystem::path& path);

/// The process that holds the run in `path` now; nothing if none does. Looks only: takes no lock, writes nothing.
/// @throws input_error if `path` is not a run's folder
std::optional<std::int64_t> holder_of_run(const std::filesystem::path& path);

} // namespace millrace::run_files
