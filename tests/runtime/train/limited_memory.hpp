#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>

namespace millrace::tests {

/// LibTorch's memory on the CPU, with a limit. An allocation beyond it fails as LibTorch's own allocator does. While
/// such an object lives, every tensor of the process is made in it.
class limited_memory {
public:
  limited_memory() {
    auto& m = memory();
    m.peak = m.live.load();
    lift();
    c10::SetCPUAllocator(&m);
  }

  ~limited_memory() {
    lift();
    c10::SetCPUAllocator(c10::GetDefaultCPUAllocator());
  }

  limited_memory(const limited_memory&) = delete;
  limited_memory& operator=(const limited_memory&) = delete;

  /// All tensors together have so many bytes at most, from now on.
  void limit(std::int64_t bytes) { memory().most = bytes; }

  /// The n-th allocation of so many bytes from now on fails, and no other one. @param n from 1
  void fail_once(std::int64_t bytes, std::int64_t n) {
    memory().fails_at = bytes;
    memory().until_failure = n;
  }

  void lift() {
    limit(std::numeric_limits<std::int64_t>::max());
    fail_once(-1, 0);
  }

  bool has_failed_once() const { return memory().until_failure <= 0; }

  std::int64_t live() const { return memory().live; } ///< bytes of all tensors now

  /// The most bytes that there were at a time, since the last call.
  std::int64_t take_peak() { return memory().peak.exchange(memory().live.load()); }

private:
  struct allocator final : c10::Allocator {
    std::atomic<std::int64_t> live{0}, peak{0}, most{0}, fails_at{-1}, until_failure{0};

    c10::DataPtr allocate(std::size_t bytes) override {
      const auto asked = static_cast<std::int64_t>(bytes);
      const bool chosen = asked == fails_at && --until_failure == 0;
      const auto now = live += asked;
      if (chosen || now > most) {
        live -= asked;
        TORCH_CHECK(false, "DefaultCPUAllocator: can't allocate memory: you tried to allocate ", bytes,
                    " bytes. Error code 12 (Cannot allocate memory)");
      }
      for (auto before = peak.load(); before < now && !peak.compare_exchange_weak(before, now);) {
      }
      auto* const own = static_cast<std::byte*>(std::aligned_alloc(line, (bytes + line - 1) / line * line + line));
      *reinterpret_cast<std::int64_t*>(own) = asked;
      return {own + line, own + line, &give_back, c10::Device(c10::DeviceType::CPU)};
    }

    c10::DeleterFnPtr raw_deleter() const override { return &give_back; }

    void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
  };

  /// Before each tensor's memory stands how much it is.
  static constexpr std::size_t line = 64;

  static void give_back(void* data) {
    auto* const own = static_cast<std::byte*>(data) - line;
    memory().live -= *reinterpret_cast<const std::int64_t*>(own);
    std::free(own);
  }

  static allocator& memory() {
    static auto* one = new allocator; // tensors may outlive everything
    return *one;
  }
};

} // namespace millrace::tests
