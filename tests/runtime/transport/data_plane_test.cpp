#include "runtime/access/socket_calls.hpp"
#include "tests/runtime/transport/planes.hpp"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <future>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace data_plane_test {

using namespace millrace;
using namespace millrace::transport;
using namespace std::chrono_literals;
using namespace millrace::transport::testing;

namespace {

bool knows(const data_plane& plane, std::uint64_t node) {
  return plane.describe().find("node " + std::to_string(node) + ": tcp/lo") != std::string::npos;
}

/// The kernel's keep-alive of each connected TCP socket of this process that has one: idle, interval, count.
std::vector<std::array<int, 3>> keepalives() {
  std::vector<std::array<int, 3>> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int socket = std::stoi(entry.path().filename().string());
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    int on = 0;
    socklen_t int_size = sizeof on;
    if (getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) != 0 || peer.sin_family != AF_INET
        || getsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, &int_size) != 0 || on == 0)
      continue;
    std::array<int, 3> options{};
    const int names[] = {TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT};
    for (std::size_t i = 0; i < 3; ++i)
      getsockopt(socket, IPPROTO_TCP, names[i], &options[i], &int_size);
    found.push_back(options);
  }
  return found;
}

} // namespace

TEST_CASE("the keep-alive that is asked for is in force on UCX's sockets") { // UCX 1.13 ignores it where it says OK
  pair_of_planes two(wire::tcp);
  REQUIRE(pull(two.b, two.a.publish(random_bundle(100'000, 1))));
  const auto found = keepalives();
  REQUIRE_FALSE(found.empty());
  for (const auto& options : found)
    CHECK(options == std::array<int, 3>{1, 1, 3});
}

TEST_CASE("bundles of every size arrive whole") {
  for (const wire how : {wire::tcp, wire::shm}) {
    pair_of_planes two(how);
    for (const std::size_t bytes : {0, 1, 63, 64, 65, 4096, 8000, 8192, 65536, 1 << 20, (64 << 20) + 1}) {
      CAPTURE(bytes);
      const bundle sent = random_bundle(bytes, bytes);
      const ticket t = two.a.publish(sent);
      CHECK(t.bytes == sent.bytes());
      const auto got = pull(two.b, t);
      REQUIRE_MESSAGE(got, got.error);
      CHECK(same(got.value, sent));
      two.a.release(t.id);
    }
    CHECK(two.b.stats().pulls == 11);
    CHECK(two.b.stats().pulls_failed == 0);
    CHECK(two.a.stats().live_tickets == 0);
  }
}

TEST_CASE("a wrapped bundle of many tensors arrives as one block") {
  for (const wire how : {wire::tcp, wire::shm}) {
    pair_of_planes two(how);
    auto memory = std::make_shared<std::vector<std::vector<float>>>();
    std::vector<column> columns;
    for (const std::size_t count : {1000, 0, 1, 300'000, 17, 2'000'000}) {
      memory->emplace_back(count, float(count));
      columns.push_back(
          {{std::to_string(count), dtype::f32, {std::int64_t(count)}}, std::as_bytes(std::span(memory->back()))});
    }
    const bundle weights = bundle::wrap(columns, memory);
    const auto got = pull(two.b, two.a.publish(weights));
    REQUIRE_MESSAGE(got, got.error);
    CHECK(same(got.value, weights));
    CHECK(got.value.block());
  }
}

TEST_CASE("a bundle without columns arrives") {
  pair_of_planes two(wire::tcp);
  const auto got = pull(two.b, two.a.publish(bundle{}));
  REQUIRE_MESSAGE(got, got.error);
  CHECK(got.value.columns().empty());
}

TEST_CASE("a ticket of this node is the same memory") {
  data_plane plane(options_of(1));
  const bundle sent = random_bundle(100'000, 1);
  const auto got = pull(plane, plane.publish(sent));
  REQUIRE(got);
  CHECK(got.value.columns()[0].bytes.data() == sent.columns()[0].bytes.data());
  CHECK(plane.stats().pulls_in_process == 1);
  CHECK(plane.stats().bytes_served == 0);
}

TEST_CASE("one side's add_peer is enough") {
  data_plane a(options_of(1)), b(options_of(2));
  b.add_peer(1, a.address());
  CHECK(pull(b, a.publish(random_bundle(1000, 1))));
  CHECK(eventually([&] { return knows(a, 2); }));
  const auto got = pull(a, b.publish(random_bundle(1000, 1)));
  CHECK_MESSAGE(got, got.error);
}

TEST_CASE("a released ticket is refused by name, here and there") {
  pair_of_planes two(wire::tcp);
  const ticket t = two.a.publish(random_bundle(1000, 1));
  CHECK(pull(two.b, t));
  two.b.release_remote(t);
  CHECK(eventually([&] { return two.a.stats().live_tickets == 0; }));
  const auto got = pull(two.b, t);
  CHECK(got.status == pull_status::released);
  CHECK(got.error.find("pull of ticket 1 from node 1: the bundle was released") == 0);
  CHECK(pull(two.a, t).status == pull_status::released);
}

TEST_CASE("who holds another key is turned away before UCX sees a byte") {
  std::promise<std::string> told;
  access::tell_refusals([&, once = false](const std::string& line) mutable {
    if (!std::exchange(once, true))
      told.set_value(line);
  });
  auto stranger = options_of(2);
  stranger.key[31] ^= std::byte{1};
  data_plane a(options_of(1)), b(stranger);
  b.add_peer(1, a.address());
  const auto got = pull(b, a.publish(random_bundle(1000, 1)));
  CHECK(got.status == pull_status::peer_lost);
  auto line = told.get_future();
  REQUIRE(line.wait_for(10s) == std::future_status::ready);
  CHECK(line.get().find("no proof that it holds this port's key") != std::string::npos);
  access::tell_refusals({});
  CHECK(a.stats().bytes_served == 0);
  CHECK(a.describe().find("node 2") == std::string::npos);
}

TEST_CASE("a ticket of an unknown node, with a forged layout or a wrong checksum is refused") {
  pair_of_planes two(wire::tcp);
  ticket t = two.a.publish(random_bundle(1000, 1));
  ticket other = t;
  other.owner = 99;
  CHECK(pull(two.b, other).status == pull_status::peer_unknown);
  other = t;
  other.checksums[1] ^= 1;
  CHECK(pull(two.b, other).status == pull_status::corrupt);
  CHECK(pull(two.b, other).error.find("the checksum of column 'floats' is not the ticket's") != std::string::npos);
  CHECK(pull(two.b, other, {.required = {"bytes"}}));
  other = t;
  other.checksums.pop_back();
  CHECK(pull(two.b, other).error.find("the ticket has 1 checksums for 2 columns") != std::string::npos);
  other = t;
  other.layout[0].shape = {std::int64_t{1} << 62};
  CHECK(pull(two.b, other).status == pull_status::corrupt);
  other = t;
  other.layout[0].shape[0] -= 1;
  other.bytes -= 1;
  CHECK(pull(two.b, other).status == pull_status::corrupt);
  CHECK(two.b.stats().pulls_failed == 6);
  CHECK(pull(two.b, t));
}

TEST_CASE("only the columns that are wanted travel, and the bundle that arrives has no others") {
  for (const wire how : {wire::tcp, wire::shm}) {
    pair_of_planes two(how);
    bundle_builder builder;
    const std::vector<std::int32_t> tokens{1, 2, 3};
    const std::vector<float> logprob{-1, -2, -3}, reward{0.5f};
    const std::vector<std::uint8_t> text(1000, 'x'), none;
    builder.add<std::int32_t>("tokens", tokens).add<float>("logprob", logprob).add<std::uint8_t>("text", text);
    const bundle sent = builder.add<float>("reward", reward).add<std::uint8_t>("empty", none).finish();
    const ticket t = two.a.publish(sent);

    auto got = pull(two.b, t, {.required = {"reward", "tokens"}, .optional = {"returns"}});
    REQUIRE_MESSAGE(got, got.error);
    CHECK(got.value.layout() == std::vector<tensor_spec>{{"tokens", dtype::i32, {3}}, {"reward", dtype::f32, {1}}});
    CHECK(got.value.view<std::int32_t>("tokens")[2] == 3);
    CHECK(got.value.view<float>("reward")[0] == 0.5f);
    CHECK(two.b.stats().bytes_pulled == 12 + 4);
    CHECK(two.a.stats().bytes_served == 12 + 4);

    got = pull(two.b, t, {.required = {"empty"}, .optional = {"logprob"}});
    REQUIRE_MESSAGE(got, got.error);
    CHECK(got.value.columns().size() == 2);
    CHECK(two.b.stats().bytes_pulled == 16 + 12);

    got = pull(two.b, t, {.required = {"empty"}});
    REQUIRE_MESSAGE(got, got.error);
    CHECK(got.value.at("empty").bytes.empty());
    CHECK(two.b.stats().bytes_pulled == 28);

    got = pull(two.b, t, {.required = {"text", "reward", "logprob", "tokens", "empty"}});
    REQUIRE_MESSAGE(got, got.error);
    CHECK(same(got.value, sent));
    CHECK(two.b.stats().bytes_pulled == 28 + 12 + 12 + 1000 + 4);
  }
}

TEST_CASE("columns of a wrapped bundle are pulled one by one too") {
  pair_of_planes two(wire::tcp);
  auto memory = std::make_shared<std::vector<std::vector<float>>>();
  std::vector<column> columns;
  for (const std::size_t count : {1000, 0, 300'000, 17}) {
    memory->emplace_back(count, float(count));
    columns.push_back(
        {{std::to_string(count), dtype::f32, {std::int64_t(count)}}, std::as_bytes(std::span(memory->back()))});
  }
  const auto got = pull(two.b, two.a.publish(bundle::wrap(columns, memory)), {.required = {"17", "300000"}});
  REQUIRE_MESSAGE(got, got.error);
  CHECK(got.value.view<float>("17")[16] == 17);
  CHECK(got.value.view<float>("300000")[299'999] == 300'000);
  CHECK(two.b.stats().bytes_pulled == 4 * 300'017);
}

TEST_CASE("a required column that is not there is named; optional columns that are not there are left out") {
  pair_of_planes two(wire::tcp);
  const ticket t = two.a.publish(random_bundle(1000, 1));
  for (data_plane* plane : {&two.a, &two.b}) {
    const auto missing = pull(*plane, t, {.required = {"floats", "rewards"}});
    CHECK(missing.status == pull_status::no_such_column);
    CHECK(missing.error.find("pull of ticket 1 from node 1: column 'rewards' is not in the bundle, which has: bytes, "
                             "floats (")
          == 0);
    const auto nothing = pull(*plane, t, {.optional = {"rewards"}});
    CHECK(nothing);
    CHECK(nothing.value.columns().empty());
    CHECK(plane->stats().bytes_pulled == 0);
  }
}

TEST_CASE("some columns of a ticket of this node are the same memory") {
  data_plane plane(options_of(1));
  const bundle sent = random_bundle(100'000, 1);
  const auto got = pull(plane, plane.publish(sent), {.required = {"bytes"}});
  REQUIRE(got);
  CHECK(got.value.columns().size() == 1);
  CHECK(got.value.at("bytes").bytes.data() == sent.at("bytes").bytes.data());
  CHECK(plane.stats().pulls_in_process == 1);
  CHECK(plane.stats().bytes_pulled == 0);
}

TEST_CASE("a ticket whose columns are not the owner's is refused, in part as well") {
  pair_of_planes two(wire::tcp);
  ticket t = two.a.publish(random_bundle(1000, 1));
  t.layout.resize(9, t.layout[0]);
  t.checksums.clear();
  t.bytes = 1012;
  for (std::size_t i = 2; i < 9; ++i)
    t.layout[i] = {std::to_string(i), dtype::u8, {0}};
  const auto got = pull(two.b, t, {.required = {"floats"}});
  CHECK(got.status == pull_status::corrupt);
  CHECK(got.error.find("the owner's bundle has other columns") != std::string::npos);
}

TEST_CASE("a ticket without checksums is pulled unchecked") {
  pair_of_planes two(wire::tcp);
  const ticket t = two.a.publish(random_bundle(1000, 1), checksums::left_out);
  CHECK(t.checksums.empty());
  CHECK(pull(two.b, t));
}

TEST_CASE("a damaged address is refused") {
  pair_of_planes two(wire::tcp);
  auto address = two.a.address();
  address[20] ^= std::byte{1};
  CHECK_THROWS_AS(two.b.add_peer(7, address), std::invalid_argument);
  CHECK_THROWS_AS(two.b.add_peer(7, {}), std::invalid_argument);
}

TEST_CASE("a dropped peer fails its pulls and is not served; only its next life comes back") {
  for (const wire how : {wire::tcp, wire::shm}) {
    data_plane a(options_of(1, how));
    std::optional<data_plane> b(options_of(2, how));
    b->add_peer(1, a.address());
    const ticket of_a = a.publish(random_bundle(1000, 1)), of_b = b->publish(random_bundle(1000, 2));
    CHECK(pull(*b, of_a));
    CHECK(eventually([&] { return knows(a, 2); }));
    CHECK(pull(a, of_b));
    a.drop_peer(2);
    CHECK(pull(a, of_b).status == pull_status::peer_lost);
    a.add_peer(2, b->address());
    CHECK(pull(a, of_b).error.find("it was dropped") != std::string::npos);
    CHECK_FALSE(pull(*b, of_a, 200ms));
    b.emplace(options_of(2, how));
    b->add_peer(1, a.address());
    const auto got = pull(*b, of_a);
    CHECK_MESSAGE(got, got.error);
  }
}

TEST_CASE("a pull that is over its deadline ends, queued or not") {
  auto narrow = options_of(2);
  narrow.max_outstanding_pulls = 1;
  data_plane a(options_of(1)), b(narrow);
  b.add_peer(1, a.address());
  const ticket t = a.publish(random_bundle(1000, 1));
  CHECK(pull(b, t, 0ms).status == pull_status::timed_out);
  CHECK(pull(b, t));
}

TEST_CASE("a thousand pulls in both directions at once, of random sizes, arrive whole, with bounded credits") {
  for (const wire how : {wire::tcp, wire::shm}) {
    pair_of_planes two(how);
    std::mt19937_64 random(7);
    std::vector<bundle> sent;
    for (int i = 0; i < 40; ++i)
      sent.push_back(random_bundle(i < 4 ? 2'000'000 : random() % 60'000, i));
    std::vector<ticket> of_a, of_b;
    for (const auto& b : sent) {
      of_a.push_back(two.a.publish(b));
      of_b.push_back(two.b.publish(b));
    }
    std::atomic<int> left = 1000, whole = 0;
    std::promise<void> done;
    for (int i = 0; i < 1000; ++i) {
      const std::size_t which = random() % sent.size();
      data_plane& puller = i % 2 ? two.a : two.b;
      puller.pull(i % 2 ? of_b[which] : of_a[which], 60s, [&, which](pull_result got) {
        whole += got && same(got.value, sent[which]);
        if (--left == 0)
          done.set_value();
      });
    }
    REQUIRE(done.get_future().wait_for(60s) == std::future_status::ready);
    CHECK(whole == 1000);
    CHECK(two.a.stats().pulls == 500);
    CHECK(two.a.stats().pulls_outstanding == 0);
    CHECK(two.a.stats().bytes_pulled == two.b.stats().bytes_served);
    // 16 outstanding, each at most 2 MB rounded up, and a few that this test has not let go of yet
    CHECK(two.a.stats().pool_high_water <= 32 * buffer_class_of_largest);
  }
}

TEST_CASE("destruction ends the pulls that are open") {
  data_plane a(options_of(1));
  std::promise<pull_result> promise;
  {
    data_plane b(options_of(2));
    b.add_peer(1, a.address());
    b.pull(a.publish(random_bundle(64 << 20, 1)), 60s, [&](pull_result got) { promise.set_value(std::move(got)); });
  }
  const auto got = promise.get_future().get();
  CHECK((got.status == pull_status::closed || got.status == pull_status::ok));
}

TEST_CASE("once a data plane is closed, no callback of its own thread holds it any more") {
  const auto plane = std::make_shared<data_plane>(options_of(1));
  const auto t = plane->publish(random_bundle(1000, 1));
  std::atomic<int> answered = 0;
  for (int i = 0; i < 100; ++i)
    plane->pull(t, 60s, [&answered, plane](const pull_result&) { ++answered; });
  plane->close();
  CHECK(answered == 100);
  CHECK(plane.use_count() == 1);
  plane->close();
}

TEST_CASE("what is chosen for a peer is told, and nothing listens beyond loopback") {
  pair_of_planes tcp(wire::tcp), shm(wire::shm);
  CHECK(pull(tcp.b, tcp.a.publish(random_bundle(10, 1))));
  CHECK(pull(shm.b, shm.a.publish(random_bundle(10, 1))));
  CHECK(tcp.b.describe().find("node 1: tcp/lo, peer failure handling\n") != std::string::npos);
  CHECK(shm.b.describe().find("node 1: tcp/lo, peer failure handling; its memory is mapped\n") != std::string::npos);
  CHECK(wire_from("shm") == wire::shm);
  CHECK(wire_from("rdma") == wire::rdma);
  CHECK_THROWS_AS(wire_from("TCP"), std::invalid_argument);
  auto elsewhere = options_of(3);
  elsewhere.bind = "203.0.113.7";
  CHECK_THROWS_AS(data_plane{elsewhere}, std::runtime_error);
}

TEST_CASE("whether a node's bundles are read in place: its own, and those of a node that lends; not over the network") {
  pair_of_planes tcp(wire::tcp), shm(wire::shm);
  const auto in_place = [](data_plane& plane, std::uint64_t node) {
    std::promise<bool> said;
    plane.ask_if_read_in_place(node, [&](bool yes) { said.set_value(yes); });
    return said.get_future().get();
  };
  CHECK(in_place(tcp.b, 2));
  CHECK(!in_place(tcp.b, 1));
  CHECK(in_place(shm.b, 1));
  CHECK(!in_place(shm.b, 3)); // nobody knows it
}

TEST_CASE("the lane of each peer is told once it has answered, with what came over it") {
  pair_of_planes tcp(wire::tcp), shm(wire::shm);
  const auto lanes_of = [](data_plane& plane) {
    REQUIRE(eventually([&] { return plane.lanes().size() == 1; }));
    return plane.lanes();
  };
  CHECK(lanes_of(tcp.b) == std::vector<peer_lane>{{.node = 1, .lane = "tcp/lo"}});
  CHECK(lanes_of(shm.b) == std::vector<peer_lane>{{.node = 1, .lane = "tcp/lo, large ones mapped"}});
  const bundle large = random_bundle(2'000'000, 1), small = random_bundle(10, 1);
  CHECK(pull(shm.b, shm.a.publish(large)));
  CHECK(pull(shm.b, shm.a.publish(small)));
  CHECK(pull(tcp.b, tcp.a.publish(large)));
  CHECK(shm.b.lanes()[0].bytes_pulled == large.bytes() + small.bytes());
  CHECK(shm.b.lanes()[0].bytes_mapped == large.bytes());
  CHECK(tcp.b.lanes()[0].bytes_pulled == large.bytes());
  CHECK(tcp.b.lanes()[0].bytes_mapped == 0);
  CHECK(tcp.a.lanes()[0].bytes_pulled == 0);
}

} // namespace data_plane_test
