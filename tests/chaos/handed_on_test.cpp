#include "tests/chaos/chaos.hpp"
#include "tests/runtime/transport/owner_process.hpp"

#include <doctest/doctest.h>

#include <random>
#include <thread>

/// A bundle goes from one reader to the next, and the one between dies or freezes at any moment.
namespace handed_on_test {

using namespace millrace;
using namespace millrace::transport;
using namespace millrace::transport::testing;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t bytes = 64 << 20;
constexpr std::uint64_t between = 2;

ticket ticket_of(const bundle& sent) {
  return {.owner = 1, .id = 1, .bytes = sent.bytes(), .layout = sent.layout(), .checksums = {}};
}

/// Node 2: hears of the owner, pulls its bundle and holds it.
void pull_and_hold() {
  data_plane plane(options_of(between));
  const auto own = plane.address();
  REQUIRE(write_all(to_parent, own.data(), own.size()));
  std::vector<std::byte> owner(4096);
  const auto got = ::read(from_parent, owner.data(), owner.size());
  REQUIRE(got > 0);
  plane.add_peer(1, std::span(owner).first(static_cast<std::size_t>(got)));
  const auto held = pull(plane, ticket_of(random_bundle(bytes, 1)));
  char nothing;
  while (::read(from_parent, &nothing, 1) > 0) {
  }
}

void strike(std::uint64_t seed, const bundle& sent) {
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const bool dies = random() % 2 == 0;
  const auto after = std::chrono::microseconds(random() % 60'000);
  data_plane owner(options_of(1));
  const auto t = owner.publish(sent, checksums::left_out);
  const owner_process middle("a process that pulls and holds");
  std::vector<std::unique_ptr<data_plane>> readers;
  for (std::uint64_t node = 3; node <= 5; ++node) {
    readers.push_back(std::make_unique<data_plane>(options_of(node)));
    readers.back()->add_peer(1, owner.address());
    readers.back()->add_peer(between, middle.address());
  }
  REQUIRE(eventually(
      [&] { return std::ranges::all_of(readers, [](const auto& one) { return one->lanes().size() == 2; }); }));
  middle.tell(owner.address());
  REQUIRE(eventually([&] { return owner.stats().bytes_served > 0; })); // it has asked first
  std::vector<std::future<pull_result>> open;
  for (auto& one : readers) { // the first has the owner's second copy, the others are sent to node 2
    auto promise = std::make_shared<std::promise<pull_result>>();
    open.push_back(promise->get_future());
    one->pull(t, 20s, [promise](pull_result got) { promise->set_value(std::move(got)); });
  }
  std::this_thread::sleep_for(after); // the moment of the blow
  middle.signal(dies ? SIGKILL : SIGSTOP);
  if (!dies)
    for (auto& one : readers)
      one->drop_peer(between); // as a run does
  for (auto& one : open) {
    const auto got = one.get();
    REQUIRE_MESSAGE(got, got.error);
    CHECK(same(got.value, sent));
  }
  CHECK(owner.stats().bytes_served <= 4 * sent.bytes());
}

} // namespace

TEST_CASE("a process that pulls and holds" * doctest::skip()) {
  pull_and_hold();
}

TEST_CASE("who hands a bundle on dies or freezes: those who wait for it get it from the owner") {
  const bundle sent = random_bundle(bytes, 1);
  const std::uint64_t trials = tests::long_sweep() ? 200 : 8;
  for (std::uint64_t seed = 1; seed <= trials; ++seed)
    strike(seed, sent);
}

} // namespace handed_on_test
