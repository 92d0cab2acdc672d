#pragma once

#include "runtime/run_files/growing_file.hpp"
#include "runtime/words/shown_tokens.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

struct ZSTD_CCtx_s;

namespace millrace::telemetry {

struct trajectory_answer {
  std::string text; ///< bytes that are not UTF-8 are written as U+FFFD
  std::int64_t tokens = 0;
  double reward = 0;
  std::vector<std::pair<std::string, double>> rewards; ///< by rule
  std::string finish;                                  ///< "stop" or "length"
  std::uint32_t version_min = 0;                       ///< policy versions that sampled its tokens
  std::uint32_t version_max = 0;
  shown_answer shown = {};  ///< its first tokens; mostly none
  std::string episode = {}; ///< all that was said in it; "": it is no episode
};

/// One group as it was trained: one row.
struct trajectory {
  std::uint64_t group = 0;
  std::int64_t step = 0; ///< the step that trained it
  std::string prompt;
  std::vector<trajectory_answer> answers;
  std::int64_t part = 0;         ///< of the step
  std::string ground_truth = {}; ///< the row's expected answer
  std::string data_source = {};  ///< the row's
};

/// The row as one line of JSON. An answer with shown tokens has them in `shown`: an array for each of their columns.
std::string to_line(const trajectory& row);

/// Whether `group` belongs to the fraction (0 to 1) of groups that is written down. The answer is the same at every
/// call and on every machine. A larger fraction contains every group of a smaller one.
bool is_sampled(std::uint64_t group, double fraction);

/// trajectories-N.jsonl.zst: JSON lines in zstd frames, each of the rows of one step or one part of it. `zstdcat` reads
/// it; after a crash it reads up to the last flushed frame.
class trajectory_file {
public:
  /// @param fraction of groups written, 0 to 1  @throws storage_error
  trajectory_file(std::filesystem::path path, double fraction);
  ~trajectory_file();
  trajectory_file(const trajectory_file&) = delete;
  trajectory_file& operator=(const trajectory_file&) = delete;

  /// Keeps the row if its group is sampled. Steps must not go down. @throws storage_error
  void append(const trajectory& row);
  /// Writes what is kept as one frame: call it once a step or part. @throws storage_error
  void flush();

  /// As `growing_file::write_waiting`.
  void write_waiting() { file_.write_waiting(); }

private:
  std::filesystem::path path_;
  double fraction_;
  run_files::growing_file file_;
  ZSTD_CCtx_s* context_;
  std::string rows_;
  std::int64_t step_ = 0;
};

/// Calls `take` with the rows of one frame after another, as JSON lines, up to a frame that is torn or says that it
/// holds more than any that is written here. @throws storage_error if the file cannot be read
void for_each_frame(const std::filesystem::path& path, const std::function<void(const std::string& rows)>& take);

/// The rows of all frames. @throws storage_error if the file cannot be read
std::string read_trajectories(const std::filesystem::path& path);

/// Reads a file that a run goes on writing.
class trajectory_follower {
public:
  explicit trajectory_follower(std::filesystem::path path) : path_(std::move(path)) {}

  /// The rows of the whole frames that came since the last call; "" while there are none, or no file.
  std::string more();

  /// The same a frame at a time: what is held at once does not grow with the file.
  void for_each_new_frame(const std::function<void(const std::string& rows)>& take);

private:
  std::filesystem::path path_;
  std::size_t read_ = 0; ///< bytes
};

/// Cuts the frames of steps after `last_step` (and a torn one) from every trajectory file in `folder`, so that after a
/// resume no group is told twice. @throws storage_error
/// @param parts of the step after `last_step` that are kept
void forget_trajectories_after(const std::filesystem::path& folder, std::int64_t last_step, std::int64_t parts = 0);

} // namespace millrace::telemetry
