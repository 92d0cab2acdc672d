#pragma once

#include "runtime/telemetry/ledger_totals.hpp"
#include "runtime/telemetry/waits.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::telemetry {

struct role_status {
  std::string name; ///< "rollout/1"
  std::int64_t pid = 0;
  std::string host;  ///< "" for this one
  std::string state; ///< in words: "decoding, 24 of 32 slots", "gone"
};

/// Tensors that a process has pulled from another one.
struct lane_status {
  std::string to;   ///< "rollout/1", "rollout/1 on 10.0.0.2:7000"
  std::string from; ///< as `to`
  std::string lane; ///< as in `peer_lane`
  std::uint64_t bytes_pulled = 0;
  std::uint64_t bytes_mapped = 0; ///< of these, not copied
};

/// status.json: how the run stood when it was written, about once a second.
struct run_status {
  std::string name;
  std::string state = "starting"; ///< starting, running, stopping, finished, stopped, failed
  std::string why = {};           ///< failed: the line that says why
  std::string machine = {};       ///< of the run's own process: "node17, 16 cores"
  std::int64_t pid = 0;
  double written_wall_s = 0; ///< Unix time
  double elapsed_s = 0;      ///< of all sessions
  double left_s = -1;        ///< negative: not known
  std::int64_t step = 0;
  std::int64_t steps = 0;
  double reward = 0;
  double tokens_per_s = 0;
  double staleness = 0;
  std::optional<std::int64_t> checkpoint_step; ///< the last one
  std::vector<role_status> roles;
  std::vector<lane_status> lanes = {};
  std::vector<wait_record> waits; ///< `since_s` counts from this writing: -12.3 began 12.3 s before
  ledger_totals ledger;
  std::vector<std::pair<std::string, std::int64_t>> groups = {}; ///< live ones by state: how deep each queue is
};

/// Replaces the file at once: a reader sees the old or the new one. @throws storage_error
void write_status(const std::filesystem::path& path, const run_status& status);

/// @returns nothing if the file is missing or does not parse
std::optional<run_status> read_status(const std::filesystem::path& path);

/// The run has failed: the last status with that state and the line that says why. @throws storage_error
void write_failure(const std::filesystem::path& path, const std::string& run, const std::string& why);

std::string to_json(const run_status& status);

/// Waits as status.json holds them: `since_s` relative to `at_s`.
std::vector<wait_record> waits_relative_to(std::vector<wait_record> waits, double at_s);

/// Whether a process holds the run's lock.
enum class run_process { alive, gone };

/// The text of `millrace status`. @param at_wall_s Unix time now
std::string in_words(const run_status& status, const std::filesystem::path& folder, run_process process,
                     double at_wall_s);

} // namespace millrace::telemetry
