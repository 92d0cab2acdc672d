#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

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

/// Memory for one large thing after another: what one has let go is the next one's, where the sizes are alike. The
/// kernel clears every page that it gives, which takes longer than to write it. From any thread; the memory may outlive
/// this.
class spare_memory {
public:
  struct piece {
    std::shared_ptr<std::byte> start; ///< as of `system_memory`
    bool zeros = true;                ///< false: whatever was written there before
  };

  /// @param keeps as after `keep`
  explicit spare_memory(bool keeps = true) { shelf_->keeps = keeps; }

  piece take(std::size_t bytes);

  /// From now on what is let go stays for the next one. Before, it goes back to the system.
  void keep();

  /// What nobody has goes back to the system.
  void give_back();

  /// The memory that all roles of this process share: gradients and the next version's matrices are as large, and never
  /// used at the same time for long. A rollout keeps it. Without one, other things than gradients want the room.
  static spare_memory& of_process();

private:
  /// What waits here while so many others are taken goes back.
  static constexpr std::uint64_t patience = 12;

  struct idle_memory {
    std::shared_ptr<std::byte> start;
    std::size_t bytes = 0;
    std::uint64_t since = 0; ///< how many had been taken before
  };

  struct shelf {
    std::mutex mutex;
    std::vector<idle_memory> idle;
    std::uint64_t taken = 0;
    bool keeps = true;
  };

  static void put(shelf& on, std::shared_ptr<std::byte>&& memory, std::size_t bytes) noexcept;

  std::shared_ptr<shelf> shelf_ = std::make_shared<shelf>();
};

/// The system takes back what is free in the heap, and gives it anew, as zeros, where it is used again.
void trim_heap();

} // namespace millrace::kernels
