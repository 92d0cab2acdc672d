#include "kernels/thread_team.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>

namespace millrace::kernels {
namespace {

constexpr std::uint64_t open_bit = std::uint64_t{1} << 31;
constexpr std::uint64_t inside_mask = open_bit - 1;

/// About 5 us: longer than the gap between two regions of one layer with few rows.
constexpr int polls = 200;
/// Longer than sampling and bookkeeping between two decode steps of a small model.
constexpr std::chrono::microseconds yielding{300};

void pause() {
  __builtin_ia32_pause();
}

} // namespace

thread_team::thread_team(int threads, instruction_set instructions) : instructions_(instructions) {
  if (threads < 1)
    throw std::invalid_argument("thread_team: need threads >= 1");
  for (int i = 1; i < threads; ++i)
    helpers_.emplace_back([this] { help(); });
}

thread_team::~thread_team() {
  stop_ = true;
  signal_.fetch_add(1);
  signal_.notify_all();
  for (auto& helper : helpers_)
    helper.join();
}

void thread_team::run(std::int64_t count, std::int64_t grain,
                      const std::function<void(std::int64_t, std::int64_t)>& part) {
  if (count <= 0)
    return;
  if (helpers_.empty() || count <= grain) {
    for (std::int64_t first = 0; first < count; first += grain)
      part(first, std::min(count, first + grain));
    return;
  }
  part_ = &part;
  count_ = count;
  grain_ = grain;
  next_.store(0, std::memory_order_relaxed);
  region_.store(((region_.load(std::memory_order_relaxed) >> 32) + 1) << 32 | open_bit);
  signal_.fetch_add(1);
  if (sleepers_.load() > 0)
    signal_.notify_all();
  work();
  region_.fetch_and(~open_bit);
  for (int i = 0; (region_.load() & inside_mask) != 0; ++i) {
    pause();
    if (i > polls)
      std::this_thread::yield();
  }
}

void thread_team::work() {
  for (;;) {
    const std::int64_t first = next_.fetch_add(grain_, std::memory_order_relaxed);
    if (first >= count_)
      return;
    (*part_)(first, std::min(count_, first + grain_));
  }
}

void thread_team::help() {
  std::uint64_t last = 0;
  const auto try_region = [&] {
    std::uint64_t seen = region_.load();
    while ((seen & open_bit) && (seen >> 32) != last) {
      if (!region_.compare_exchange_weak(seen, seen + 1))
        continue;
      last = seen >> 32;
      work();
      region_.fetch_sub(1);
      return true;
    }
    return false;
  };
  for (;;) {
    bool worked = false;
    for (int i = 0; i < polls && !worked; ++i) {
      pause();
      worked = try_region();
    }
    const auto until = std::chrono::steady_clock::now() + yielding;
    while (!worked && !stop_ && std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();
      worked = try_region();
    }
    if (worked)
      continue;
    sleepers_.fetch_add(1);
    const int before = signal_.load();
    if (!stop_ && !try_region())
      signal_.wait(before);
    sleepers_.fetch_sub(1);
    if (stop_)
      return;
  }
}

} // namespace millrace::kernels
