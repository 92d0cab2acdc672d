#include "runtime/formats/mapped_file.hpp"

#include "runtime/words/input_error.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace millrace::formats {

mapped_file::mapped_file(const std::filesystem::path& path) {
  const auto fail = [&](const char* what, int descriptor) {
    const int reason = errno;
    if (descriptor >= 0)
      ::close(descriptor);
    throw input_error(path.string() + ": cannot " + what + ": " + std::strerror(reason));
  };
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    fail("open", -1);

  struct stat status {};

  if (::fstat(descriptor, &status) != 0)
    fail("read", descriptor);
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor);
    throw input_error(path.string() + ": is no regular file");
  }
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ > 0) {
    void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (memory == MAP_FAILED)
      fail("map", descriptor);
    data_ = static_cast<const std::byte*>(memory);
  }
  ::close(descriptor);
}

void mapped_file::let_go(std::span<const std::byte> read) const {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto before = static_cast<std::size_t>(read.data() - data_) % page; // the mapping begins at a page
  if (!read.empty())
    ::madvise(const_cast<std::byte*>(read.data()) - before, read.size() + before, MADV_DONTNEED);
}

mapped_file::~mapped_file() {
  if (data_ != nullptr)
    ::munmap(const_cast<std::byte*>(data_), size_);
}

} // namespace millrace::formats
