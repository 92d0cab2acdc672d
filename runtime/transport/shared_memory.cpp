#include "runtime/transport/shared_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace millrace::transport {
namespace {

constexpr std::size_t large_page = std::size_t{2} << 20;
constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;
constexpr int collapse = 25; // MADV_COLLAPSE of Linux 6.1, which Debian 12's headers lack

/// A memfd begins in small pages wherever `shmem_enabled` is "never", as it is by default. A range of which one page is
/// there can be made a large page all the same, at the cost of zeroing it: less than the faults of its small pages.
void ask_for_large_pages(std::byte* data, std::size_t bytes) {
  ::madvise(data, bytes, MADV_HUGEPAGE);
  for (std::size_t at = 0; at + large_page <= bytes; at += large_page) {
    *static_cast<volatile std::byte*>(data + at) = std::byte{};
    if (::madvise(data + at, large_page, collapse) != 0)
      return; // an older kernel, or no large page is free
  }
}

[[noreturn]] void refuse(int descriptor, const std::string& why) {
  ::close(descriptor);
  throw std::runtime_error(why);
}

} // namespace

shared_memory::shared_memory(std::size_t bytes, int descriptor)
    : reserved_(std::max<std::size_t>(bytes, 1) + large_page), bytes_(bytes), descriptor_(descriptor) {
  void* const room = ::mmap(nullptr, reserved_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) {
    if (descriptor >= 0)
      ::close(descriptor);
    throw std::bad_alloc();
  }
  reservation_ = static_cast<std::byte*>(room);
  data_ = reservation_ + (large_page - reinterpret_cast<std::uintptr_t>(room) % large_page) % large_page;
}

shared_memory::~shared_memory() {
  ::munmap(reservation_, reserved_);
  if (descriptor_ >= 0)
    ::close(descriptor_);
}

std::shared_ptr<shared_memory> shared_memory::make(std::size_t bytes) {
  int descriptor = ::memfd_create("millrace", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor >= 0 && ::ftruncate(descriptor, static_cast<off_t>(bytes)) != 0) {
    ::close(descriptor);
    descriptor = -1;
  }
  std::shared_ptr<shared_memory> made(new shared_memory(bytes, descriptor));
  if (bytes == 0)
    return made;
  const int kind = descriptor >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  if (::mmap(made->data_, bytes, PROT_READ | PROT_WRITE, kind | MAP_FIXED, descriptor, 0) == MAP_FAILED)
    throw std::bad_alloc();
  ask_for_large_pages(made->data_, bytes);
  return made;
}

std::shared_ptr<const shared_memory> shared_memory::open(int descriptor, std::size_t bytes) {
  const int found = ::fcntl(descriptor, F_GET_SEALS);

  struct stat file {};

  if (found < 0 || (found & seals) != seals)
    refuse(descriptor, "the memory is not sealed against changes");
  if (::fstat(descriptor, &file) != 0 || file.st_size < 0 || static_cast<std::size_t>(file.st_size) < bytes)
    refuse(descriptor, "the memory has " + std::to_string(file.st_size) + " bytes, want " + std::to_string(bytes));
  try {
    std::shared_ptr<shared_memory> opened(new shared_memory(bytes, descriptor));
    if (bytes > 0 && ::mmap(opened->data_, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, descriptor, 0) == MAP_FAILED)
      throw std::runtime_error(std::string("mmap: ") + std::strerror(errno));
    ::close(std::exchange(opened->descriptor_, -1)); // the mapping holds the memory
    return opened;
  } catch (const std::bad_alloc&) {
    throw std::runtime_error("mmap: " + std::to_string(bytes) + " bytes find no room");
  }
}

void shared_memory::seal() const {
  if (sealed_)
    return;
  if (bytes_ > 0)
    ::mprotect(data_, bytes_, PROT_READ);
  sealed_ = descriptor_ < 0 || ::fcntl(descriptor_, F_ADD_SEALS, seals) == 0;
}

} // namespace millrace::transport
