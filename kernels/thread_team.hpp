#pragma once

#include "kernels/instruction_set.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace millrace::kernels {

/// A fork-join team with a budget of its own: the caller and `threads - 1` helpers, and the instructions they may use.
/// Several teams live side by side in one process. A helper without work polls for some microseconds, then gives its
/// core to whoever wants it for as long as a forward pass takes between two regions, then sleeps.
/// A team belongs to one caller at a time; regions do not nest.
class thread_team {
public:
  /// @param threads >= 1   @throws std::invalid_argument
  explicit thread_team(int threads, instruction_set instructions = best_instruction_set());
  ~thread_team();
  thread_team(const thread_team&) = delete;
  thread_team& operator=(const thread_team&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  instruction_set instructions() const { return instructions_; }

  /// Calls `part(first, last)` over [0, count) in pieces of at most `grain`, on whoever is free, and returns when all
  /// are done; a helper that is still asleep by then is not waited for. Which thread runs a piece is not determined:
  /// pieces must be independent. `part` must not throw.
  void run(std::int64_t count, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& part);

private:
  void help();
  void work();

  const instruction_set instructions_;
  const std::function<void(std::int64_t, std::int64_t)>* part_ = nullptr;
  std::int64_t count_ = 0, grain_ = 1;
  std::atomic<std::int64_t> next_{0};
  std::atomic<std::uint64_t> region_{0}; ///< number of the region << 32 | open << 31 | helpers inside
  std::atomic<int> signal_{0};           ///< changes with every region and at the end: what sleepers wait on
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> helpers_;
};

} // namespace millrace::kernels
