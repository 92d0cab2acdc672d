#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace millrace::watch {

/// Reads a file of lines that a run goes on writing.
class line_follower {
public:
  explicit line_follower(std::filesystem::path path) : path_(std::move(path)) {}

  struct news {
    bool anew = false; ///< the file was cut, as a resume does: `lines` are its first ones
    std::vector<std::string> lines;
  };

  /// The whole lines since the last call; at most 4 MiB of the file are read in one.
  news more();

private:
  std::filesystem::path path_;
  std::uintmax_t read_ = 0; ///< bytes: whole lines
};

} // namespace millrace::watch
