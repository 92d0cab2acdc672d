#include "runtime/transport/buffer_pool.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>

namespace buffer_pool_test {

using namespace millrace;
using namespace millrace::transport;

TEST_CASE("a class size is at least what was asked for, at most a quarter more, and its own class") {
  CHECK(buffer_pool::class_size(1) == 4096);
  CHECK(buffer_pool::class_size(4097) == 8192);
  for (std::size_t bytes = 16384; bytes < (std::size_t{1} << 40); bytes = bytes * 9 / 8 + 1) {
    const std::size_t size = buffer_pool::class_size(bytes);
    CHECK(size >= bytes);
    CHECK(size <= bytes + bytes / 4 + 4096);
    CHECK(size % 4096 == 0);
    CHECK(buffer_pool::class_size(size) == size);
  }
}

TEST_CASE("a block that is given back is given out again, page-aligned") {
  buffer_pool pool(std::size_t{1} << 20);
  const auto first = pool.take(100'000);
  const auto* address = first.bytes.data();
  CHECK(reinterpret_cast<std::uintptr_t>(address) % 4096 == 0);
  CHECK(first.bytes.size() == 100'000);
  std::memset(first.bytes.data(), 1, first.bytes.size());
  auto copy = first;
  CHECK(pool.take(99'999).bytes.data() != address);
  { auto last = std::move(copy); }
  CHECK(pool.usage().lent == buffer_pool::class_size(100'000));
  const_cast<buffer_pool::block&>(first) = {};
  CHECK(pool.usage().lent == 0);
  const auto again = pool.take(100'000);
  CHECK(pool.usage().reused == 1);
  CHECK(pool.usage().high_water == 2 * buffer_pool::class_size(100'000));
}

TEST_CASE("idle memory beyond the bound goes back to the system") {
  buffer_pool pool(10'000);
  pool.take(8'000);
  CHECK(pool.usage().idle == 8192);
  pool.take(20'000);
  CHECK(pool.usage().idle == 8192);
  CHECK(pool.usage().lent == 0);
}

TEST_CASE("a block outlives its pool, and no bytes need no memory") {
  buffer_pool::block block;
  {
    buffer_pool pool(1 << 20);
    block = pool.take(5000);
    CHECK(pool.take(0).memory == nullptr);
  }
  std::memset(block.bytes.data(), 1, block.bytes.size());
  CHECK(block.bytes[4999] == std::byte{1});
}

} // namespace buffer_pool_test
