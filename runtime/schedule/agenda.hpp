#pragma once

#include "runtime/schedule/quad_heap.hpp"

#include <cstdint>

namespace millrace::schedule {

/// What is still to happen under virtual time, the earliest first. Entries of one moment happen in the order in which
/// they were planned.
class agenda {
public:
  enum class kind : std::uint8_t {
    generated,   ///< a worker's next group ends
    handed_over, ///< a group is handed back with what it has
    overdue,     ///< a group's call deadline passes
    columns,     ///< a group has its columns
    lays_out,    ///< a worker begins to lay weights out
    laid_out,    ///< it has
    flipped,     ///< it decodes with them
    late,        ///< its publish deadline passes
    learned,     ///< the learner's update begins, or ends
    saved,       ///< a checkpoint is written
    died,        ///< a worker is lost
    joins,       ///< and comes back
  };

  struct entry {
    double at_s = 0;
    std::uint64_t sequence = 0; ///< breaks ties in the order of planning
    kind what = kind::generated;
    /// Group, step, or worker; of `lays_out` to `late` the worker's life stands above bit 32.
    std::uint64_t subject = 0;
    std::uint32_t detail = 0; ///< attempt, version or life

    bool operator<(const entry& other) const {
      return at_s != other.at_s ? at_s < other.at_s : sequence < other.sequence;
    }
  };

  bool empty() const { return entries_.empty(); }

  /// @returns the entry's stamp, by which its owner knows whether it still counts
  std::uint64_t plan(double at_s, kind what, std::uint64_t subject, std::uint32_t detail) {
    entries_.push({.at_s = at_s, .sequence = stamp(), .what = what, .subject = subject, .detail = detail});
    return last_stamp_;
  }

  /// A stamp that no entry has: what its owner planned before counts no more.
  std::uint64_t stamp() { return ++last_stamp_; }

  /// Takes the earliest entry off. @pre not empty
  entry take() {
    const auto first = entries_.front();
    entries_.pop();
    return first;
  }

private:
  quad_heap<entry> entries_;
  std::uint64_t last_stamp_ = 0;
};

} // namespace millrace::schedule
