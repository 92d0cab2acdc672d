#include "runtime/schedule/version_counts.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace version_counts_test {

using namespace millrace;
using namespace millrace::schedule;

namespace {

std::vector<version_tokens> listed(const version_counts& counts) {
  std::vector<version_tokens> all;
  for (const auto part : counts)
    all.push_back(part);
  return all;
}

std::string refused(version_counts counts, version_id version, std::int64_t tokens) {
  try {
    counts.add(version, tokens);
  } catch (const std::invalid_argument& what) {
    return what.what();
  }
  return "";
}

} // namespace

TEST_CASE("counts reach from the oldest version with tokens to the newest") {
  version_counts counts;
  CHECK(counts.empty());
  CHECK(counts.sum() == 0);
  CHECK(counts == version_counts{{7, 0}}); // no token is no version
  counts.add(5, 10);
  counts.add(8, 3);
  counts.add(4, 2);
  counts.add(5, 1);
  CHECK(counts.oldest() == 4);
  CHECK(counts.newest() == 8);
  CHECK(counts.counts().size() == 5);
  CHECK(counts.sum() == 16);
  CHECK(listed(counts) == std::vector<version_tokens>{{4, 2}, {5, 11}, {8, 3}});
  CHECK(counts == version_counts{{4, 2}, {5, 11}, {8, 3}});
  CHECK(counts != version_counts{{3, 2}, {4, 11}, {7, 3}});
  counts.clear();
  CHECK(counts == version_counts{});
}

TEST_CASE("counts in any order are the same as the sums of a map") {
  std::mt19937_64 random(2);
  for (int round = 0; round < 500; ++round) {
    version_counts counts, half;
    std::map<version_id, std::int64_t> expected;
    for (auto left = random() % 30; left > 0; --left) {
      const auto version = static_cast<version_id>(1000 + random() % 50);
      const auto tokens = static_cast<std::int64_t>(random() % 100);
      (left % 2 == 0 ? half : counts).add(version, tokens);
      if (tokens > 0)
        expected[version] += tokens;
    }
    counts.add(half);
    std::vector<version_tokens> all;
    for (const auto& [version, tokens] : expected)
      all.push_back({version, tokens});
    REQUIRE(listed(counts) == all);
  }
}

TEST_CASE("what cannot be a group's tokens is refused") {
  const version_counts counts{{3, 0xfffffff0}};
  CHECK(refused(counts, 3, -5) == "tokens of version 3: found -5, want 0 to 4294967295");
  CHECK(refused(counts, 4, std::int64_t{1} << 32) == "tokens of version 4: found 4294967296, want 0 to 4294967295");
  CHECK(refused(counts, 3, 16) == "tokens of version 3: found 4294967296, want 0 to 4294967295");
  CHECK(refused(counts, 4000000000, 1)
        == "tokens of version 4000000000: found beside those of version 3, want at most 1048576 versions in between");
  CHECK(refused(counts, 3, 15).empty());
}

} // namespace version_counts_test
