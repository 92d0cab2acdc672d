#include "tests/runtime/transport/planes.hpp"

#include <doctest/doctest.h>

#include <future>
#include <memory>
#include <vector>

namespace handing_on_test {

using namespace millrace;
using namespace millrace::transport;
using namespace millrace::transport::testing;
using namespace std::chrono_literals;

namespace {

/// A node that owns something, and some that want it, all known to each other. Over TCP each is a host of its own.
struct readers_of_one {
  explicit readers_of_one(std::size_t count, wire how = wire::tcp) : owner(options_of(1, how)) {
    for (std::size_t i = 0; i < count; ++i)
      readers.push_back(std::make_unique<data_plane>(options_of(2 + i, how)));
    for (auto& one : readers) {
      one->add_peer(1, owner.address());
      for (auto& other : readers)
        if (one->node() < other->node())
          one->add_peer(other->node(), other->address());
    }
    CHECK(eventually([&] {
      return owner.lanes().size() == count
             && std::ranges::all_of(readers, [&](const auto& one) { return one->lanes().size() == count; });
    }));
  }

  /// All ask at once, in order. @returns how each ended
  std::vector<pull_result> pull_all(const ticket& t) {
    std::vector<std::future<pull_result>> open;
    for (auto& one : readers) {
      auto promise = std::make_shared<std::promise<pull_result>>();
      open.push_back(promise->get_future());
      one->pull(t, 20s, [promise](pull_result got) { promise->set_value(std::move(got)); });
    }
    std::vector<pull_result> ends;
    for (auto& one : open)
      ends.push_back(one.get());
    return ends;
  }

  data_plane owner;
  std::vector<std::unique_ptr<data_plane>> readers;
};

} // namespace

TEST_CASE("of a large bundle that seven nodes want, the owner sends two copies") {
  readers_of_one all(7);
  const bundle sent = random_bundle(8'000'000, 1);
  for (int round = 1; round <= 3; ++round) {
    const auto t = all.owner.publish(sent);
    for (const auto& got : all.pull_all(t)) {
      REQUIRE_MESSAGE(got, got.error);
      CHECK(same(got.value, sent));
    }
    CHECK(all.owner.stats().bytes_served == 2 * sent.bytes() * static_cast<std::uint64_t>(round));
    all.owner.release(t.id);
  }
  for (const auto& one : all.readers)
    CHECK(one->stats().bytes_served <= 3 * 2 * sent.bytes());
}

TEST_CASE("small bundles, and columns of large ones, come from their owner") {
  readers_of_one all(4);
  const auto small = all.owner.publish(random_bundle(1000, 1)), large = all.owner.publish(random_bundle(8'000'000, 2));
  for (const auto& got : all.pull_all(small))
    CHECK(got);
  for (auto& one : all.readers)
    CHECK(pull(*one, large, {.required = {"bytes"}}));
  CHECK(all.owner.stats().bytes_served == 4 * (1012 + 8'000'000));
}

TEST_CASE("who has let go of a bundle does not hand it on: the owner gives it") {
  readers_of_one all(3);
  const auto t = all.owner.publish(random_bundle(8'000'000, 1));
  for (auto& one : all.readers) // the third is sent to the first, which has it no more
    CHECK(pull(*one, t));
  CHECK(all.owner.stats().bytes_served == 3 * t.bytes);
}

TEST_CASE("a node that is dropped while others wait for its copy costs each of these one from the owner") {
  for (int round = 0; round < 10; ++round) {
    readers_of_one all(6);
    const bundle sent = random_bundle(16'000'000, static_cast<std::uint64_t>(round));
    const auto t = all.owner.publish(sent);
    std::vector<std::future<pull_result>> open;
    for (auto& one : all.readers) {
      auto promise = std::make_shared<std::promise<pull_result>>();
      open.push_back(promise->get_future());
      one->pull(t, 20s, [promise](pull_result got) { promise->set_value(std::move(got)); });
    }
    for (std::size_t i = 1; i < open.size(); ++i)
      all.readers[i]->drop_peer(2);                 // two were sent to it
    for (std::size_t i = 1; i < open.size(); ++i) { // the dropped one itself is told nothing
      const auto got = open[i].get();
      REQUIRE_MESSAGE(got, got.error);
      CHECK(same(got.value, sent));
    }
    CHECK(all.owner.stats().bytes_served <= 4 * sent.bytes());
  }
}

} // namespace handing_on_test
