#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::telemetry {

/// Why time went by: the categories of spans, and the columns of the time table.
namespace cause {
inline constexpr std::string_view compute = "compute";
inline constexpr std::string_view wait_input = "wait_input";     ///< nothing to work on
inline constexpr std::string_view wait_credit = "wait_credit";   ///< the receiver takes no more
inline constexpr std::string_view wait_version = "wait_version"; ///< the staleness bound holds it back
inline constexpr std::string_view wait_weights = "wait_weights"; ///< new weights are on their way
inline constexpr std::string_view transfer = "transfer";         ///< bytes are on their way
inline constexpr std::string_view storage = "storage";           ///< checkpoint, files
inline constexpr std::string_view paused = "paused";             ///< told to
inline constexpr std::string_view idle = "idle";                 ///< no span covers it
} // namespace cause

/// Seconds on this machine's monotonic clock: the clock of every `_s` time point in this folder.
double now_s();

/// Unix time, for what is compared between processes and sessions.
double wall_s();

/// A stretch of time of one actor. Spans of one track may nest.
struct span {
  std::string track;    ///< the actor as the pipeline names it: "learner", "rollout/1"
  std::string name;     ///< "decode", "train step 12"
  std::string category; ///< one of `cause`
  double start_s = 0;
  double duration_s = 0;
  std::vector<std::pair<std::string, double>> args; ///< figures shown with the span
};

/// A value over time ("slots used"), drawn as a curve of its track.
struct counter {
  std::string track;
  std::string name;
  double at_s = 0;
  double value = 0;
};

/// The spans and counters of one process since the last `take`, on their way to the process that writes the trace.
struct trace_batch {
  std::vector<span> spans;
  std::vector<counter> counters;
};

/// Collects spans of every thread of a process. Thread-safe. Holds at most `capacity` spans and as many counters; more
/// are dropped and counted, so that a process nobody collects from does not grow.
class tracer {
public:
  explicit tracer(std::size_t capacity = 1 << 18) : capacity_{capacity} {}

  void record(span s);
  void record(counter c);
  /// Hands over what was collected.
  trace_batch take();
  std::int64_t dropped() const;

private:
  const std::size_t capacity_;
  mutable std::mutex mutex_;
  trace_batch batch_;
  std::int64_t dropped_ = 0;
};

/// The tracer of this process.
tracer& process_trace();

/// Records a span from its construction to its end.
class timed {
public:
  timed(tracer& to, std::string_view track, std::string_view name, std::string_view category);
  ~timed();
  timed(const timed&) = delete;
  timed& operator=(const timed&) = delete;

  void arg(std::string name, double value) { span_.args.emplace_back(std::move(name), value); }

private:
  tracer& to_;
  span span_;
};

} // namespace millrace::telemetry
