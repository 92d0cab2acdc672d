#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace millrace::transport {

/// Receive memory that is used again: fresh pages cost more than the transfer itself, and memory at an address seen
/// before is still registered with the network card (UCX keeps its registrations by address).
///
/// Sizes are rounded up to four classes per power of two, at least 4 KiB. Blocks are page-aligned and hold whatever
/// was in them. All members may be called from any thread; blocks may outlive the pool.
class buffer_pool {
public:
  /// @param keep_bytes idle memory beyond this goes back to the system
  explicit buffer_pool(std::size_t keep_bytes);

  struct block {
    std::shared_ptr<std::byte> memory; ///< goes back to the pool when the last copy does; null for no bytes
    std::span<std::byte> bytes;        ///< as many as asked for
  };

  /// @throws std::bad_alloc if the system has no such memory
  block take(std::size_t bytes);

  struct use {
    std::size_t lent = 0;       ///< bytes of blocks in use, by class size
    std::size_t idle = 0;       ///< bytes kept for reuse
    std::size_t high_water = 0; ///< the most that lent + idle has been
    std::size_t reused = 0;     ///< blocks that were given out again
  };

  use usage() const;

  static std::size_t class_size(std::size_t bytes);

private:
  struct shelves;
  std::shared_ptr<shelves> shelves_;
};

} // namespace millrace::transport
