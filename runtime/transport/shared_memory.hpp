#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>

namespace millrace::transport {

/// Smaller bundles lie in ordinary memory and are copied: to make, lend and map shared memory costs more than that.
inline constexpr std::size_t smallest_shared = std::size_t{1} << 20;

/// Memory that other processes of this host can read in place: a memfd. It has no name, so nothing of it is left when
/// the last process that maps it ends. In pages of 2 MiB where the kernel gives them, as system_memory is.
class shared_memory {
public:
  /// Zeroed. Where the system gives no memfd (a filter of calls, no descriptor left), it is of this process alone.
  /// @returns aligned to 2 MiB   @throws std::bad_alloc
  static std::shared_ptr<shared_memory> make(std::size_t bytes);

  /// The memory of another process, to read.
  /// @param descriptor owned from here on
  /// @throws std::runtime_error in one line if it can still be written or cut short, is shorter, or finds no room here
  static std::shared_ptr<const shared_memory> open(int descriptor, std::size_t bytes);

  ~shared_memory();
  shared_memory(const shared_memory&) = delete;
  shared_memory& operator=(const shared_memory&) = delete;

  /// To be filled, before `seal`.
  std::byte* data() { return data_; }

  std::span<const std::byte> bytes() const { return {data_, bytes_}; }

  /// From here on no process can write to it or change its size, this one neither.
  void seal() const;

  /// What another process opens it with; -1 if it is not sealed, or of this process alone, or another's.
  int descriptor() const { return sealed_ ? descriptor_ : -1; }

private:
  shared_memory(std::size_t bytes, int descriptor);

  std::byte* reservation_ = nullptr;
  std::size_t reserved_ = 0;
  std::byte* data_ = nullptr; ///< in the reservation, at a multiple of a large page
  std::size_t bytes_ = 0;
  int descriptor_ = -1;
  mutable std::atomic<bool> sealed_ = false;
};

} // namespace millrace::transport
