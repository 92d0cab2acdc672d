#pragma once

#include "runtime/run_files/storage.hpp"

#include <filesystem>
#include <string>
#include <string_view>

namespace millrace::run_files {

/// A file that only grows, by whole records. Records that the disk refuses are kept in memory and go out with the next
/// one, in order: a full disk loses nothing of it once there is room again.
class growing_file {
public:
  /// Opens to append. @throws storage_error
  explicit growing_file(std::filesystem::path path);

  /// @throws storage_error if the disk refuses: the record is kept, up to `most_waiting` bytes of them
  void append(std::string_view record);

  /// Tries to write what waits. @throws storage_error if the disk still refuses
  void write_waiting();

  /// Records that wait for room, in bytes.
  std::size_t waiting() const { return waiting_.size(); }

  static constexpr std::size_t most_waiting = 256 << 20;

private:
  std::filesystem::path path_;
  descriptor file_;
  std::string waiting_;
};

} // namespace millrace::run_files
