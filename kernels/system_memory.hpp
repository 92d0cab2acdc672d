#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

namespace millrace::kernels {

/// Zeroed memory straight from the system, which goes back to it as a whole: it leaves no pieces in the heap.
/// In large pages where the kernel has them, which saves page walks.
/// @returns aligned to 64 bytes at least   @throws std::bad_alloc
std::shared_ptr<std::byte> system_memory(std::size_t bytes);

/// Memory that the system has given and that is about to be changed in place: it gives the pages now. Else each page is
/// read first, as one page of zeros for all, and given at the write behind it: two faults, and every core that runs the
/// process is told. Where the system cannot, nothing happens.
/// @param start of `system_memory`
void give_pages(std::byte* start, std::size_t bytes);

/// The system takes such memory back and gives it anew, as zeros, where it is used again. @returns whether it could; if
/// not, all is as it was
bool take_pages(std::byte* start, std::size_t bytes);

/// Memory for one thing after another of the same size: what the last but one has let go is the next one's. The kernel
/// clears every page that it gives, which takes longer than to write it. From any thread; the memory may outlive this.
class spare_memory {
public:
  /// @returns as `system_memory`, but with whatever was written there before
  std::shared_ptr<std::byte> take(std::size_t bytes);

private:
  struct shelf {
    std::mutex mutex;
    std::shared_ptr<std::byte> idle;
    std::size_t bytes = 0; ///< of it
  };

  std::shared_ptr<shelf> shelf_ = std::make_shared<shelf>();
};

/// The system takes back what is free in the heap, and gives it anew, as zeros, where it is used again.
void trim_heap();

} // namespace millrace::kernels
