#include "runtime/roles/published_versions.hpp"
#include "tests/runtime/roles/fixture.hpp"

#include <doctest/doctest.h>

#include <memory>

namespace published_versions_test {

using namespace millrace;

namespace {

/// A role that publishes small versions.
struct publisher {
  std::shared_ptr<transport::data_plane> data = tests::data_plane_of(1);
  roles::published_versions versions;

  explicit publisher(std::size_t kept) : versions(data, kept) {}

  void publish(version_id version) { versions.publish(version, tests::rollout_columns()); }

  std::uint64_t live() const { return data->stats().live_tickets; }
};

} // namespace

TEST_CASE("a published version stays until the next one, until all have it, or as long as it is held") {
  publisher one(1);
  one.publish(1);
  CHECK(one.live() == 1);
  one.publish(2); // pushes version 1 out
  CHECK(one.live() == 1);
  one.versions.let_go({1}); // long gone
  CHECK(one.live() == 1);
  one.versions.let_go({2});
  CHECK(one.live() == 0);
  one.publish(2); // again, for a rollout that came up
  CHECK(one.live() == 1);

  one.versions.hold({.version = 2, .hold = true});
  one.versions.let_go({2});
  CHECK(one.live() == 1);
  one.publish(3);
  CHECK(one.live() == 2);
  one.versions.hold({.version = 2, .hold = false});
  CHECK(one.live() == 1);
  one.versions.make_room();
  CHECK(one.live() == 0);
}

TEST_CASE("where a reference follows, versions that all rollouts have stay for it") {
  publisher two(2);
  two.publish(1);
  two.publish(2);
  two.versions.let_go({2});
  two.versions.let_go({1});
  CHECK(two.live() == 2);
  two.publish(3);
  CHECK(two.live() == 2);
}

} // namespace published_versions_test
