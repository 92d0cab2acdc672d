#include "runtime/transport/buffer_pool.hpp"

#include <sys/mman.h>

#include <bit>
#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace millrace::transport {
namespace {

constexpr std::size_t smallest = 4096;
constexpr std::size_t huge_page = std::size_t{2} << 20;

std::byte* map_pages(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw std::bad_alloc();
  if (bytes >= 2 * huge_page)
    ::madvise(memory, bytes, MADV_HUGEPAGE);
  return static_cast<std::byte*>(memory);
}

} // namespace

struct buffer_pool::shelves {
  explicit shelves(std::size_t keep) : keep_bytes(keep) {}

  shelves(const shelves&) = delete;
  shelves& operator=(const shelves&) = delete;

  ~shelves() {
    for (auto& [size, blocks] : idle)
      for (std::byte* block : blocks)
        ::munmap(block, size);
  }

  void give_back(std::byte* block, std::size_t size) {
    const std::lock_guard lock(mutex);
    counts.lent -= size;
    if (counts.idle + size > keep_bytes) {
      ::munmap(block, size);
      return;
    }
    counts.idle += size;
    idle[size].push_back(block);
  }

  const std::size_t keep_bytes;
  mutable std::mutex mutex;
  std::map<std::size_t, std::vector<std::byte*>> idle;
  use counts;
};

buffer_pool::buffer_pool(std::size_t keep_bytes) : shelves_(std::make_shared<shelves>(keep_bytes)) {
}

std::size_t buffer_pool::class_size(std::size_t bytes) {
  if (bytes <= smallest)
    return smallest;
  const std::size_t step = std::max(std::bit_floor(bytes - 1) / 4, smallest);
  return (bytes + step - 1) / step * step;
}

buffer_pool::block buffer_pool::take(std::size_t bytes) {
  if (bytes == 0)
    return {};
  const std::size_t size = class_size(bytes);
  std::byte* memory = nullptr;
  {
    const std::lock_guard lock(shelves_->mutex);
    auto& counts = shelves_->counts;
    if (auto& stock = shelves_->idle[size]; !stock.empty()) {
      memory = stock.back();
      stock.pop_back();
      counts.idle -= size;
      ++counts.reused;
    } else {
      memory = map_pages(size);
    }
    counts.lent += size;
    counts.high_water = std::max(counts.high_water, counts.lent + counts.idle);
  }
  std::shared_ptr<std::byte> owner(memory, [shelves = shelves_, size](std::byte* p) { shelves->give_back(p, size); });
  return {std::move(owner), {memory, bytes}};
}

buffer_pool::use buffer_pool::usage() const {
  const std::lock_guard lock(shelves_->mutex);
  return shelves_->counts;
}

} // namespace millrace::transport
