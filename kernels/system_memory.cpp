#include "kernels/system_memory.hpp"

#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
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

namespace {

/// Sizes that differ by less than a sixteenth are mostly one: rounded up to 5 bits. What is behind the bytes that were
/// asked for is never touched, so it takes no memory.
std::size_t rounded_up(std::size_t bytes) {
  const std::size_t step = std::max<std::size_t>(std::bit_floor(bytes) / 16, 4096);
  return (bytes + step - 1) / step * step;
}

} // namespace

spare_memory::piece spare_memory::take(std::size_t bytes) {
  const std::size_t room = rounded_up(bytes);
  std::shared_ptr<std::byte> memory;
  std::vector<idle_memory> old; // let go without the lock
  {
    const std::lock_guard lock(shelf_->mutex);
    auto& idle = shelf_->idle;
    const auto found = std::ranges::find(idle, room, &idle_memory::bytes);
    if (found != idle.end()) {
      memory = std::move(found->start);
      idle.erase(found);
    }
    ++shelf_->taken;
    for (auto& one : idle)
      if (one.since + patience < shelf_->taken)
        old.push_back(std::move(one));
    std::erase_if(idle, [](const idle_memory& one) { return !one.start; });
  }
  old.clear(); // before more is taken
  const bool zeros = !memory;
  if (!memory)
    memory = system_memory(room);
  auto* const start = memory.get();
  return {{start,
           [memory = std::move(memory), room, back = std::weak_ptr(shelf_)](std::byte*) mutable {
             if (const auto there = back.lock())
               put(*there, std::move(memory), room);
             memory = nullptr;
           }},
          zeros};
}

/// Where there is no room to remember it, the memory goes back.
void spare_memory::put(shelf& on, std::shared_ptr<std::byte>&& memory, std::size_t bytes) noexcept {
  const std::lock_guard lock(on.mutex);
  if (!on.keeps)
    return;
  try {
    auto& place = on.idle.emplace_back();
    place = {std::move(memory), bytes, on.taken};
  } catch (const std::bad_alloc&) {
  }
}

void spare_memory::keep() {
  const std::lock_guard lock(shelf_->mutex);
  shelf_->keeps = true;
}

void spare_memory::give_back() {
  std::vector<idle_memory> idle;
  const std::lock_guard lock(shelf_->mutex);
  std::swap(idle, shelf_->idle);
}

spare_memory& spare_memory::of_process() {
  static spare_memory memory(false);
  return memory;
}

void trim_heap() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

} // namespace millrace::kernels
