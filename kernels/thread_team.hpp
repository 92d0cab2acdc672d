#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace millrace::kernels {

/// A fork-join team with a thread budget of its own: the caller and `threads - 1` helpers. Several teams live side by
/// side in one process. A helper between two regions polls for some microseconds, then yields its core for as long as
/// a forward pass takes between two regions, then sleeps. One region at a time: a team belongs to one caller.
class thread_team {
public:
  /// @param threads >= 1 @throws std::invalid_argument
  explicit thread_team(int threads);
  ~thread_team();
  thread_team(const thread_team&) = delete;
  thread_team& operator=(const thread_team&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  /// Calls `part(first, last)` over [0, count) in pieces of at most `grain`, on whoever is free, and returns when all
  /// are done. Which thread runs a piece is not determined: parts must be independent. `part` must not throw.
  void run(std::int64_t count, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& part);

private:
  void help();
  void work();

  const std::function<void(std::int64_t, std::int64_t)>* part_ = nullptr;
  std::int64_t count_ = 0, grain_ = 1;
  std::atomic<std::int64_t> next_{0};
  std::atomic<std::uint32_t> epoch_{0}; ///< odd bit pattern irrelevant; a change announces a region
  std::atomic<int> busy_{0};            ///< helpers that have not finished the current region
  std::atomic<bool> stop_{false};
  std::vector<std::thread> helpers_;
};

} // namespace millrace::kernels
