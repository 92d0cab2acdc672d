#pragma once

#include "runtime/run_files/growing_file.hpp"

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::telemetry {

enum class level { debug, info, warning, error };

/// Whether text written there may be coloured: a terminal, unless NO_COLOR is set or TERM is "dumb" (no-color.org).
bool shows_colour(int descriptor_number);

/// `text` in the colour of the level: yellow for a warning, red for an error, as it is for the others.
std::string coloured(level l, std::string_view text);

/// One line an event, to stderr and, once opened, to the run's log.txt. Thread-safe: lines are never mixed.
///
///      12.345 warning rollout/1   process 4711 is gone (signal 9): starting it again
///
/// Seconds since the logger began (monotonic), level, role, text. A newline in the text starts a new line with the same
/// head; other control characters are shown as \xNN: a hostile text cannot forge lines or drive a terminal.
class logger {
public:
  /// @param descriptor_number where people read; 2 is stderr, -1 nowhere. The level is coloured where that may be.
  explicit logger(int descriptor_number = 2);

  /// Also write to this file, appending. @throws storage_error
  void open(const std::filesystem::path& path);
  /// Lines below `least` go to the file only.
  void show_from(level least);
  void write(level l, std::string_view role, std::string_view text);

  /// The same, to the file alone: people are told in another way.
  void note(level l, std::string_view role, std::string_view text);

  /// Sets the line that stays below the log on a terminal and is drawn over in place; "" takes it away.
  void live_line(std::string_view text);
  /// A plain line for people, without a head; not written to the file.
  void say(std::string_view text);

  /// Whether people read on a terminal.
  bool on_terminal() const { return terminal_; }

private:
  void show(std::string_view lines);
  void keep(const std::string& lines);
  std::mutex mutex_;
  int people_;
  bool terminal_;
  bool colour_;
  bool refused_ = false; ///< by the disk, and that was said
  level least_ = level::info;
  double start_s_;
  std::optional<run_files::growing_file> file_;
  std::string live_;
};

/// The logger of this process.
logger& process_log();

inline void log_debug(std::string_view role, std::string_view text) {
  process_log().write(level::debug, role, text);
}

inline void log_info(std::string_view role, std::string_view text) {
  process_log().write(level::info, role, text);
}

inline void log_warning(std::string_view role, std::string_view text) {
  process_log().write(level::warning, role, text);
}

inline void log_error(std::string_view role, std::string_view text) {
  process_log().write(level::error, role, text);
}

} // namespace millrace::telemetry
