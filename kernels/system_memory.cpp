#include "kernels/system_memory.hpp"

#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

namespace millrace::kernels {

std::shared_ptr<std::byte> system_memory(std::size_t bytes) {
  constexpr std::size_t page = std::size_t{2} << 20;
  // A large page begins at a multiple of its size.
  const std::size_t room = bytes >= page ? bytes + page : std::max<std::size_t>(bytes, 1);
  void* const mapped = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED)
    throw std::bad_alloc();
  auto* start = static_cast<std::byte*>(mapped);
  if (bytes >= page) {
    start += (page - reinterpret_cast<std::uintptr_t>(mapped) % page) % page;
    ::madvise(start, bytes, MADV_HUGEPAGE); // else small ones
  }
  return {start, [mapped, room](std::byte*) { ::munmap(mapped, room); }};
}

void give_pages(std::byte* start, std::size_t bytes) {
#ifdef MADV_POPULATE_WRITE
  if (bytes > 0)
    ::madvise(start, bytes, MADV_POPULATE_WRITE);
#endif
}

bool take_pages(std::byte* start, std::size_t bytes) {
  return ::madvise(start, bytes, MADV_DONTNEED) == 0; // whole pages, which are all `system_memory`'s
}

std::shared_ptr<std::byte> spare_memory::take(std::size_t bytes) {
  std::shared_ptr<std::byte> memory;
  {
    const std::lock_guard lock(shelf_->mutex);
    if (shelf_->bytes == bytes)
      memory = std::move(shelf_->idle);
    shelf_->idle = nullptr; // of another size: it goes back before more is taken
    shelf_->bytes = 0;
  }
  if (!memory)
    memory = system_memory(bytes);
  auto* const start = memory.get();
  return {start, [memory = std::move(memory), bytes, back = std::weak_ptr(shelf_)](std::byte*) mutable {
            if (const auto there = back.lock()) {
              const std::lock_guard lock(there->mutex);
              std::swap(there->idle, memory);
              there->bytes = bytes;
            }
            memory = nullptr;
          }};
}

void trim_heap() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

} // namespace millrace::kernels
