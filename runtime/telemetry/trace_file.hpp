#pragma once

#include "runtime/run_files/growing_file.hpp"
#include "runtime/telemetry/trace.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace millrace::telemetry {

/// trace.json for ui.perfetto.dev and chrome://tracing: the JSON array format, whose closing bracket may be missing, so
/// that a killed run's trace still opens. One process row a process, one track an actor.
class trace_file {
public:
  /// @param start_s `now_s()` of what is drawn as time 0
  /// @param max_bytes after which nothing more is written, and the trace says so: viewers choke on more
  /// @throws storage_error
  trace_file(std::filesystem::path path, double start_s, std::uint64_t max_bytes = 512'000'000);
  /// Closes the array.
  ~trace_file();
  trace_file(const trace_file&) = delete;
  trace_file& operator=(const trace_file&) = delete;

  /// Writes a process's batch. Not thread-safe.
  /// @param process_name as shown, e.g. "rollout on 10.0.0.2"
  /// @param clock_offset_s this machine's `now_s()` minus that process's at one moment (0 on the same host)
  /// @throws storage_error
  void add(const trace_batch& batch, std::int64_t pid, std::string_view process_name, double clock_offset_s);

  /// As `growing_file::write_waiting`.
  void write_waiting() { file_.write_waiting(); }

private:
  int track_number(std::int64_t pid, std::string_view process_name, const std::string& track, std::string& out);
  run_files::growing_file file_;
  double start_s_;
  std::uint64_t bytes_left_;
  std::map<std::pair<std::int64_t, std::string>, int> tracks_;
};

} // namespace millrace::telemetry
