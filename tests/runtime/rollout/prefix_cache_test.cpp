#include "runtime/rollout/prefix_cache.hpp"
#include "tests/runtime/model/random_decoder.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace prefix_cache_test {

using namespace millrace;
using rollout::prefix_cache;
using tokens = std::vector<std::int32_t>;

namespace {

constexpr std::int64_t block = kernels::cache_block_tokens;

/// 0, 1, 2, ... and from `other` on 100 more.
tokens counted(std::int64_t length, std::int64_t other = 1000) {
  tokens made;
  for (std::int64_t i = 0; i < length; ++i)
    made.push_back(static_cast<std::int32_t>(i + (i >= other ? 100 : 0)));
  return made;
}

struct kept_sequences {
  std::shared_ptr<model::kv_pool> pool = model::kv_pool::make(tests::tiny_config("llama"));
  prefix_cache cache{pool};

  model::kv_sequence keep(const tokens& of) {
    auto made = cache.find(of);
    made.grow(std::ssize(of) - made.length());
    cache.keep(of, made);
    return made;
  }

  std::int64_t found(const tokens& of) { return cache.find(of).length(); }
};

} // namespace

TEST_CASE("whole blocks of the longest common beginning are found, and they are the same memory") {
  kept_sequences all;
  const auto own = all.keep(counted(2 * block + 5));
  CHECK(all.found(counted(2 * block + 5)) == 2 * block);
  CHECK(all.found(counted(2 * block - 1)) == block);
  CHECK(all.found(counted(3 * block, block + 3)) == block);
  CHECK(all.found(counted(3 * block, 3)) == 0);
  CHECK(all.found({}) == 0);
  auto behind = counted(block); // the second block's tokens without the first one's before them
  std::ranges::transform(behind, behind.begin(), [](auto token) { return token + static_cast<std::int32_t>(block); });
  CHECK(all.found(behind) == 0);
  const auto shared = all.cache.find(counted(2 * block));
  CHECK(shared.blocks()[0] == own.blocks()[0]);
  CHECK(shared.blocks()[1] == own.blocks()[1]);
  CHECK(all.pool->blocks_in_use() == 3);
}

TEST_CASE("blocks that nobody holds stay until they are let go: the least recently used end first") {
  kept_sequences all;
  all.keep(counted(3 * block, 2 * block)); // one beginning of two blocks, two ends
  all.keep(counted(3 * block));
  all.keep(counted(block, 0));
  CHECK(all.cache.idle() == 5);
  CHECK(all.found(counted(3 * block, 2 * block)) == 3 * block); // used now
  all.cache.let_go(1);
  CHECK(all.found(counted(3 * block)) == 2 * block);
  CHECK(all.found(counted(block, 0)) == block);
  all.cache.let_go(1); // now the other end is the oldest, though what is before it was used since
  CHECK(all.found(counted(3 * block, 2 * block)) == 2 * block);
  all.cache.let_go(100);
  CHECK(all.pool->blocks_in_use() == 0);
  CHECK(all.cache.idle() == 0);
}

TEST_CASE("what somebody holds stays, and what is before it") {
  kept_sequences all;
  const auto held = all.keep(counted(2 * block));
  all.keep(counted(4 * block));
  CHECK(all.cache.idle() == 2);
  all.cache.let_go(100);
  CHECK(all.found(counted(4 * block)) == 2 * block);
  // Another sequence of the same tokens, computed at the same time: its own first block is not the one that is kept.
  kept_sequences twice;
  twice.keep(counted(block));
  auto own = model::kv_sequence(twice.pool);
  own.grow(2 * block);
  twice.cache.keep(counted(2 * block), own);
  CHECK(twice.cache.idle() == 0); // the second block is held, so the first one cannot go
  twice.cache.let_go(100);
  CHECK(twice.found(counted(2 * block)) == 2 * block);
  twice.cache.clear();
  CHECK(twice.found(counted(2 * block)) == 0);
}

TEST_CASE("whatever is kept, held and let go: beginnings are found as a list has them, and what is held stays") {
  std::mt19937_64 random(5);
  kept_sequences all;
  std::vector<std::pair<tokens, model::kv_sequence>> held;
  std::set<tokens> known; // beginnings of whole blocks
  for (int trial = 0; trial < 600; ++trial) {
    CAPTURE(trial);
    tokens of;
    for (std::uint64_t b = random() % 5; b > 0; --b)
      of.insert(of.end(), static_cast<std::size_t>(block), static_cast<std::int32_t>(random() % 3));
    std::int64_t longest = 0;
    for (const auto& one : known)
      if (one.size() <= of.size() && std::equal(one.begin(), one.end(), of.begin()))
        longest = std::max(longest, std::ssize(one));
    REQUIRE(all.found(of) == longest);
    if (random() % 2 == 0) {
      held.emplace_back(of, all.keep(of));
      for (auto end = of.begin() + block; end <= of.end() && !of.empty(); end += block) {
        known.emplace(of.begin(), end);
        if (end == of.end())
          break;
      }
    } else if (!held.empty()) {
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(random() % held.size()));
    }
    if (random() % 3 == 0) {
      const auto idle = all.cache.idle(), wanted = static_cast<std::int64_t>(random() % 4);
      const auto before = all.pool->blocks_in_use();
      all.cache.let_go(wanted);
      REQUIRE(all.cache.idle() == idle - std::min(idle, wanted));
      REQUIRE(all.pool->blocks_in_use() == before - std::min(idle, wanted));
      for (const auto& [one, sequence] : held)
        REQUIRE(all.found(one) == std::ssize(one));
      std::erase_if(known, [&](const tokens& one) { return all.found(one) < std::ssize(one); });
    }
  }
  CHECK(known.size() > 10);
}

} // namespace prefix_cache_test
