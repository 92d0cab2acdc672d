#include "runtime/model/kv_cache.hpp"
#include "tests/runtime/model/random_decoder.hpp"

#include <doctest/doctest.h>

namespace kv_cache_test {

using namespace millrace;
using model::kv_pool;
using model::kv_sequence;

TEST_CASE("blocks go back to the pool") {
  const auto pool = kv_pool::make(tests::tiny_config("llama"));
  for (int i = 0; i < 10; ++i) {
    kv_sequence sequence(pool);
    sequence.grow(33);
  }
  CHECK(pool->blocks_allocated() == 3);
}

TEST_CASE("a block of a bfloat16 cache has half the bytes, of an int8 cache a byte a number and scales") {
  const auto config = tests::tiny_config("llama");
  const auto bytes = [&](sampling_precision kept) { return kv_pool::make(config, at::kCPU, kept)->bytes_per_block(); };
  const auto whole = bytes(sampling_precision::float32);
  CHECK(2 * bytes(sampling_precision::bfloat16) == whole);
  CHECK(4 * config.head_dim * bytes(sampling_precision::int8) == (config.head_dim + 4) * whole);
}

} // namespace kv_cache_test
