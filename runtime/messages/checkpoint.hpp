#pragma once

#include <cstdint>
#include <string>

namespace millrace {

/// Write weights (Hugging Face layout) and optimizer into an existing folder. coordinator -> policy.
struct write_checkpoint {
  std::string folder;
};

/// Asks whether a file of the run's folder is the same one there: a role that writes its part of a checkpoint on
/// another host needs the folder on a file system that both hosts share. coordinator -> any role that keeps
/// state, any rank.
struct find_file {
  std::string path; ///< absolute
  std::string content;
};

/// Answers `find_file`. A refusal says what is there.
struct file_found {};

/// Answers `write_checkpoint`.
struct checkpoint_written {
  std::string folder;
  double seconds = 0;
};

/// The checkpoint lies under its final name, or the line that says why not. storage thread -> coordinator.
struct checkpoint_stored {
  std::uint32_t step = 0;
  std::string folder;
  std::string failure; ///< not empty: it was not written
};

} // namespace millrace
