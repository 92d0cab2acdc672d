#include "runtime/columns/weights_bundle.hpp"
#include "runtime/roles/published_versions.hpp"
#include "tests/runtime/roles/fixture.hpp"

#include <ATen/ATen.h>
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

TEST_CASE("an adapter is published beside its version, goes with it, and is the share of the bytes that travels") {
  const auto bundle_of = [](std::int64_t numbers) { return columns::bundle_of({{"w", at::ones({numbers})}}); };
  for (const bool deltas : {false, true}) {
    const auto data = tests::data_plane_of(1);
    roles::published_versions versions(data, 1, deltas);
    CHECK(versions.published_share() == 1);
    CHECK(versions.publish_whole(1, bundle_of(100)).adapter.id == 0);
    CHECK(versions.published_share() == 1);
    for (const version_id version : {2, 3}) {
      const auto shares = versions.publish_whole(version, bundle_of(100), bundle_of(7));
      CHECK(shares.adapter.bytes == 28);
      CHECK(shares.delta.id == 0); // an adapter takes its place
      CHECK(versions.published_share() == 0.07);
      CHECK(data->stats().live_tickets == 2);
    }
    versions.hold({.version = 3, .hold = true});
    versions.publish_whole(4, bundle_of(100));
    CHECK(versions.published_share() == (deltas ? 0.02 : 1)); // nothing differs: `changed` has 8 bytes
    versions.hold({.version = 3, .hold = false});
    versions.let_go({4});
    CHECK(data->stats().live_tickets == 0);
  }
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
