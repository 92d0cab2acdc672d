#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>

namespace millrace::pipeline {

/// A place that a person can go to: a character of a file, or a `--set` of the command line.
struct position {
  std::string source;      ///< the file as it was named, or the whole `--set key=value`
  std::int64_t line = 0;   ///< from 1; 0 where `source` is a `--set`
  std::int64_t column = 0; ///< from 1, in code points
  std::uint32_t file = 0;  ///< of files that are laid one over another: which one, from 0

  /// `file:line:column`, or `--set key=value`.
  std::string text() const { return line == 0 ? source : brief() + ':' + std::to_string(column); }

  /// `file:line`, or `--set key=value`.
  std::string brief() const { return line == 0 ? source : source + ':' + std::to_string(line); }
};

/// Where the key of this path stands; for one that is not written, the nearest table around it.
/// @param places of every key that is written, by its path; "" is the whole file's
/// @returns nullptr where not even the whole file has a place
inline const position* nearest_place(const std::map<std::string, position>& places, std::string path) {
  for (;;) {
    if (const auto it = places.find(path); it != places.end())
      return &it->second;
    if (path.empty())
      return nullptr;
    const std::size_t dot = path.rfind('.');
    path.resize(dot == std::string::npos ? 0 : dot);
  }
}

} // namespace millrace::pipeline
