#include "runtime/transport/shared_memory.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

namespace shared_memory_test {

using namespace millrace::transport;

namespace {

constexpr std::size_t megabytes = std::size_t{1} << 20;

bool is_zero(std::byte b) {
  return b == std::byte{};
}

std::string refusal(int descriptor, std::size_t bytes) {
  try {
    shared_memory::open(descriptor, bytes);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return {};
}

/// Bytes that the system holds for the file behind a descriptor.
std::size_t held(int descriptor) {
  struct stat file {};

  REQUIRE(::fstat(descriptor, &file) == 0);
  return static_cast<std::size_t>(file.st_blocks) * 512;
}

} // namespace

TEST_CASE("shared memory is zeroed, aligned, and read elsewhere once it is sealed") {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, 4097 * std::size_t{1}, 5 * megabytes + 3}) {
    CAPTURE(bytes);
    const auto memory = shared_memory::make(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(memory->data()) % (2 * megabytes) == 0);
    CHECK(std::ranges::all_of(memory->bytes(), is_zero));
    if (bytes > 0)
      std::memset(memory->data(), 7, bytes);
    CHECK(memory->descriptor() == -1);
    memory->seal();
    memory->seal();
    REQUIRE(memory->descriptor() >= 0);
    const auto read = shared_memory::open(::dup(memory->descriptor()), bytes);
    CHECK(read->bytes().size() == bytes);
    CHECK(std::ranges::all_of(read->bytes(), [](std::byte b) { return b == std::byte{7}; }));
    CHECK(read->descriptor() == -1);
  }
}

TEST_CASE("nobody who holds the descriptor can write to sealed memory or cut it short") {
  const auto memory = shared_memory::make(3 * megabytes);
  memory->seal();
  const int other = ::dup(memory->descriptor());
  CHECK(::mmap(nullptr, megabytes, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0) == MAP_FAILED);
  CHECK(errno == EPERM);
  CHECK(::pwrite(other, "x", 1, 0) == -1);
  CHECK(::ftruncate(other, 1) == -1);
  CHECK(::ftruncate(other, 4 * megabytes) == -1);
  CHECK(::fallocate(other, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, megabytes) == -1);
  ::close(other);
}

TEST_CASE("memory that can still change, or is too short, is refused") {
  const int open_to_all = ::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  REQUIRE(::ftruncate(open_to_all, megabytes) == 0);
  CHECK(refusal(open_to_all, megabytes) == "the memory is not sealed against changes");
  CHECK(::fcntl(open_to_all, F_GETFD) == -1); // it was taken, and closed
  const auto memory = shared_memory::make(megabytes);
  memory->seal();
  CHECK(refusal(::dup(memory->descriptor()), megabytes + 1) == "the memory has 1048576 bytes, want 1048577");
  CHECK(refusal(::open("/dev/null", O_RDONLY), 0) == "the memory is not sealed against changes");
}

TEST_CASE("the memory is the system's again when its owner and its readers have let go") {
  auto memory = shared_memory::make(4 * megabytes);
  std::memset(memory->data(), 1, 4 * megabytes);
  memory->seal();
  const int watch = ::dup(memory->descriptor());
  CHECK(held(watch) >= 4 * megabytes);
  auto read = shared_memory::open(::dup(watch), 4 * megabytes);
  memory.reset();
  CHECK(read->bytes()[4 * megabytes - 1] == std::byte{1});
  read.reset();

  struct stat file {};

  REQUIRE(::fstat(watch, &file) == 0);
  CHECK(file.st_nlink == 0); // no name keeps it: with this descriptor it ends
  ::close(watch);
}

} // namespace shared_memory_test
