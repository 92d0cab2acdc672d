#pragma once

#include "runtime/run_files/step_lines.hpp"
#include "runtime/words/metric_names.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::telemetry {

namespace metric = millrace::metric;

/// The figures of one step, in the order they are to be read.
struct metric_row {
  std::int64_t step = 0;                              ///< optimizer steps done, from 1
  double wall_s = 0;                                  ///< Unix time
  std::vector<std::pair<std::string, double>> values; ///< a number that is not finite is written as null

  void set(std::string_view name, double value);
  std::optional<double> get(std::string_view name) const;
};

/// metrics.jsonl: one JSON object a step, flushed a line at a time. An evaluation of a version is a row of its own,
/// with that version as its step, wherever it stands between the others.
class metrics_file {
public:
  /// Opens to append. Rows of steps after `last_step` (and a torn last line) are taken out, so that a step that is
  /// trained again after a resume is counted once. A new run passes 0. @throws storage_error
  metrics_file(std::filesystem::path path, std::int64_t last_step);
  /// @throws storage_error
  void append(const metric_row& row);

  /// As `growing_file::write_waiting`.
  void write_waiting() { lines_.write_waiting(); }

private:
  run_files::step_lines lines_;
};

/// One line of a metrics file, without its end. @returns nothing if the line is torn or damaged
std::optional<metric_row> parse_metric_row(std::string_view line);

/// Every whole row of a metrics file, in order; a torn or damaged line ends it. A missing file has none.
std::vector<metric_row> read_metrics(const std::filesystem::path& path);

} // namespace millrace::telemetry
