#pragma once

#include <cstddef>
#include <memory>

namespace millrace::kernels {

/// Zeroed memory straight from the system, which goes back to it as a whole: it leaves no pieces in the heap.
/// In large pages where the kernel has them, which saves page walks.
/// @returns aligned to 64 bytes at least   @throws std::bad_alloc
std::shared_ptr<std::byte> system_memory(std::size_t bytes);

/// The system takes back what is free in the heap, and gives it anew, as zeros, where it is used again.
void trim_heap();

} // namespace millrace::kernels
