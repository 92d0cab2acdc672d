#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace millrace::sandbox {

/// What a program may take.
struct bounds {
  std::chrono::milliseconds time{5000};                ///< from its start; a program that runs longer is killed
  std::int64_t memory_bytes = std::int64_t{512} << 20; ///< of address space, each process
  std::int64_t processes = 16;                         ///< at once, threads included
  std::int64_t file_bytes = std::int64_t{16} << 20;    ///< of one file
  std::int64_t disk_bytes = std::int64_t{32} << 20;    ///< of /tmp, and again of /dev/shm, all files together
  std::int64_t output_bytes = std::int64_t{1} << 20;   ///< of stdout, and again of stderr; more ends the program
};

/// A program to run.
struct job {
  std::vector<std::string> command; ///< a path inside, or a name to look for in /usr/local/bin, /usr/bin and /bin
  std::string input;                ///< its stdin
  bounds most;
  std::vector<std::string> folders; ///< that it may read, beside /usr; absolute
};

/// The bound that ended a program.
enum class bound : std::uint8_t {
  none,   ///< it ended by itself
  time,   ///< `bounds::time`, also as CPU time of one process
  output, ///< `bounds::output_bytes`
};

/// How a program ended.
struct outcome {
  bound hit = bound::none;
  int status = 0; ///< exit status; 128 + n: signal n ended it
  std::string out, err;
  std::chrono::microseconds wall{}; ///< from its start to the end of all its processes
  std::chrono::microseconds cpu{};  ///< of its processes that were waited for, and of bubblewrap
};

} // namespace millrace::sandbox
