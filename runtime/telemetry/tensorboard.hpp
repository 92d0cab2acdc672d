#pragma once

#include "runtime/run_files/growing_file.hpp"
#include "runtime/telemetry/metrics.hpp"

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace millrace::telemetry {

/// A TensorBoard event file, `events.out.tfevents.<time>.<host>.<pid>.<session>`: each figure of a step is a scalar.
///
/// Record: u64 length, u32 masked crc32c(length), data, u32 masked crc32c(data), little-endian; data is an `Event`
/// message (tensorboard/compat/proto/event.proto).
class event_file {
public:
  /// Starts a new file in `folder`. Records after `last_step` are cut from the files already there: a new run passes 0.
  /// @throws storage_error
  event_file(const std::filesystem::path& folder, int session, std::int64_t last_step, double wall_s);
  /// One record with all finite values. @throws storage_error
  void append(const metric_row& row);

  /// As `growing_file::write_waiting`.
  void write_waiting() { file_.write_waiting(); }

  const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
  run_files::growing_file file_;
};

/// CRC-32C (Castagnoli) as TensorFlow's records mask it: rotated right by 15, plus 0xa282ead8.
std::uint32_t masked_crc32c(std::string_view bytes);

} // namespace millrace::telemetry
