#pragma once

#include "runtime/run_files/storage.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::run_files {

/// Called with a name before each step of a commit that touches the disk: "flush", "manifest", "flush manifest",
/// "rename", "flush rename", "discard", "remove". A test ends the process there.
using crash_point = std::function<void(std::string_view)>;

class checkpoint_store;

/// One attempt at a checkpoint: a folder beside the real ones, gone again unless `commit` came to its end.
class checkpoint_attempt {
public:
  checkpoint_attempt(checkpoint_attempt&& other) noexcept;
  checkpoint_attempt& operator=(checkpoint_attempt&&) = delete;
  ~checkpoint_attempt();

  /// Write the checkpoint's files (and folders) in here, with any writer.
  const std::filesystem::path& folder() const { return folder_; }

  /// Writes one file into the folder. @throws storage_error
  void write(const std::filesystem::path& name, std::string_view bytes) const;
  /// Flushes every file, writes `manifest.json` last, renames to `step-000042`, prunes. Afterwards this checkpoint is
  /// there, whole. Replaces an earlier one of the same step. Blocks as long as the disk needs: call it off the mailbox.
  /// @returns the checkpoint's folder
  /// @throws storage_error with one line; the earlier checkpoints are as they were
  std::filesystem::path commit();

private:
  friend class checkpoint_store;
  checkpoint_attempt(const checkpoint_store& store, std::int64_t step, std::filesystem::path folder);
  const checkpoint_store* store_;
  std::int64_t step_;
  std::filesystem::path folder_;
};

struct stored_checkpoint {
  std::int64_t step = 0;
  std::filesystem::path folder;
};

/// The checkpoints of one run. Not copied: attempts point to it. The holder of the run's lock is its only writer.
class checkpoint_store {
public:
  /// @param folder made if it is not there; leftovers of attempts that died are removed
  /// @param keep how many checkpoints stay, >= 1: each commit removes checkpoints older than the `keep` newest whole
  /// ones
  /// @throws storage_error
  checkpoint_store(std::filesystem::path folder, int keep, crash_point on_crash_point = {});
  checkpoint_store(const checkpoint_store&) = delete;
  checkpoint_store& operator=(const checkpoint_store&) = delete;

  /// Starts an attempt. One at a time. @throws storage_error
  checkpoint_attempt begin(std::int64_t step) const;

  const std::filesystem::path& folder() const { return folder_; }

private:
  friend class checkpoint_attempt;
  void reached(std::string_view point) const;
  void prune() const;
  std::filesystem::path folder_;
  int keep_;
  crash_point on_crash_point_;
};

/// The newest checkpoint in `folder` whose manifest verifies: each file is there with its size and hash (XXH3-128).
/// A damaged one is skipped and named to `warn` (one line). Reads every byte of the one it returns; changes nothing.
/// @param before only checkpoints of earlier steps than this one
std::optional<stored_checkpoint> latest_checkpoint(const std::filesystem::path& folder,
                                                   const std::function<void(const std::string&)>& warn = {},
                                                   std::int64_t before = std::numeric_limits<std::int64_t>::max());

/// Steps of the checkpoints in `folder`, ascending, unverified: cheap.
std::vector<std::int64_t> checkpoint_steps(const std::filesystem::path& folder);

/// The line for a person when a checkpoint could not be written: what failed, how much room there is, what is kept.
std::string checkpoint_failure(const std::filesystem::path& checkpoints, std::int64_t step, std::string_view why);

} // namespace millrace::run_files
