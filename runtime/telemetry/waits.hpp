#pragma once

#include "runtime/words/wait_record.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::telemetry {

/// The open waits of one process. Thread-safe.
class wait_table {
public:
  using key = std::uint64_t;
  key begin(wait_record record);
  /// A key that is not open is ignored.
  void end(key k);
  /// Open waits, oldest first.
  std::vector<wait_record> open() const;

private:
  mutable std::mutex mutex_;
  std::map<key, wait_record> open_;
  key next_ = 1;
};

/// The waits of this process.
wait_table& process_waits();

/// A wait from construction to end.
class waiting {
public:
  waiting(wait_table& table, wait_record record) : table_{table}, key_{table.begin(std::move(record))} {}

  ~waiting() { table_.end(key_); }

  waiting(const waiting&) = delete;
  waiting& operator=(const waiting&) = delete;

private:
  wait_table& table_;
  wait_table::key key_;
};

/// "12.3 s", "60 s", from 600 s on "10:00": a tenth of a second only below 100 s.
std::string in_seconds(double seconds);

/// "rollout/0, group 3".
std::string in_words(std::span<const std::string> names);

/// "learner waits for group 17 on rollout/1 since 12.3 s (deadline 60 s)"; overdue: "... (deadline 60 s, overdue)".
std::string in_words(const wait_record& wait, double at_s);

/// Actors that wait in a circle: for each actor the shortest circle in which its name comes first in the alphabet.
std::vector<std::vector<std::string>> wait_cycles(std::span<const wait_record> waits);

/// What a stall prints, a line each: circles, waits on actors that are gone, then every wait, the longest first.
/// @param gone names of actors known to be dead
std::vector<std::string> stall_report(std::span<const wait_record> waits, std::span<const std::string> gone,
                                      double at_s);

} // namespace millrace::telemetry
