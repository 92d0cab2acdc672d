#include "runtime/schedule/tokens_by_version.hpp"

#include <doctest/doctest.h>

#include <random>
#include <utility>

namespace tokens_by_version_test {

using namespace millrace;
using namespace millrace::schedule;

namespace {

version_counts listed(const version_run& run) {
  version_counts all;
  run.each([&](version_id version, std::uint32_t tokens) { all.add(version, tokens); });
  return all;
}

} // namespace

TEST_CASE("counts of consecutive versions are kept as wide as the largest needs") {
  tokens_by_version counted;
  CHECK(counted.all().empty());
  for (const auto& [largest, width] : {std::pair{255, 1}, {256, 2}, {65535, 2}, {65536, 4}}) {
    CAPTURE(largest);
    const version_counts tokens{{7, 1}, {8, largest}, {11, 2}};
    counted.assign(tokens);
    CHECK(counted.all().width == width);
    CHECK(counted.all().first == 7);
    CHECK(counted.all().last() == 11);
    CHECK(counted.all().size() == 5);
    CHECK(listed(counted.all()) == tokens);
  }
  counted.assign({{3, 0xffffffff}});
  CHECK(listed(counted.all()) == version_counts{{3, 0xffffffff}});
  counted.assign({{9, 70000}});
  CHECK(listed(counted.all()) == version_counts{{9, 70000}});
  counted.clear();
  CHECK(counted.all().empty());
}

TEST_CASE("what is not older than a version begins with the first such one that has tokens") {
  tokens_by_version counted;
  counted.assign({{2, 5}, {4, 300}, {7, 1}});
  CHECK(listed(counted.since(0)) == version_counts{{2, 5}, {4, 300}, {7, 1}});
  CHECK(counted.since(3).first == 4);
  CHECK(counted.since(5).first == 7);
  CHECK(listed(counted.since(7)) == version_counts{{7, 1}});
  CHECK(counted.since(8).empty());
  CHECK(counted.sum_before(2) == 0);
  CHECK(counted.sum_before(5) == 305);
  CHECK(counted.sum_before(100) == 306);
}

TEST_CASE("any counts come back as they were given, also after others and out of a list that was moved") {
  std::mt19937_64 random(11);
  tokens_by_version counted;
  for (int round = 0; round < 2000; ++round) {
    version_counts tokens;
    auto version = static_cast<version_id>(random() % 1000);
    for (auto left = random() % 200; left > 0; --left, version += 1 + static_cast<version_id>(random() % 3)) {
      tokens.add(version, static_cast<std::int64_t>(1
                                                    + random()
                                                          % (round % 3 == 0   ? 200
                                                             : round % 3 == 1 ? 60000
                                                                              : 4000000000)));
    }
    counted.assign(tokens);
    tokens_by_version moved = std::move(counted);
    REQUIRE(listed(moved.all()) == tokens);
    REQUIRE(moved.sum_before(version) == tokens.sum());
    counted = std::move(moved);
  }
}

} // namespace tokens_by_version_test
