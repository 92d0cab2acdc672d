#include "runtime/transport/descriptor_line.hpp"
#include "runtime/transport/wire_format.hpp"
#include "tests/runtime/transport/owner_process.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <set>

namespace two_processes_test {

using namespace millrace;
using namespace millrace::transport;
using namespace millrace::transport::testing;
using namespace std::chrono_literals;
using clk = std::chrono::steady_clock;

namespace {

double milliseconds_since(clk::time_point start) {
  return std::chrono::duration<double, std::milli>(clk::now() - start).count();
}

/// A reader that keeps what it is told.
struct reader {
  explicit reader(wire how) {
    auto options = options_of(2, how);
    options.tell = [this](const std::string& line) {
      const std::lock_guard lock(mutex);
      told.push_back(line);
    };
    plane.emplace(options);
  }

  std::vector<std::string> lines() {
    const std::lock_guard lock(mutex);
    return told;
  }

  std::mutex mutex;
  std::vector<std::string> told;
  std::optional<data_plane> plane; // last: its thread tells
};

const char* const other_user = "MILLRACE_TEST_OWNER_OF_ANOTHER_USER";

/// How many mappings of lent memory this process holds.
int lent_mappings() {
  const auto maps = tests::read_file("/proc/self/maps");
  int found = 0;
  for (auto at = maps.find("/memfd:millrace"); at != std::string::npos; at = maps.find("/memfd:millrace", at + 1))
    ++found;
  return found;
}

} // namespace

TEST_CASE("owner process over tcp" * doctest::skip()) {
  own(wire::tcp);
}

TEST_CASE("owner process over auto" * doctest::skip()) {
  if (std::getenv(other_user) != nullptr)
    REQUIRE(::setresuid(65534, 65534, 65534) == 0);
  own(wire::automatic);
}

TEST_CASE("owner process over shm" * doctest::skip()) {
  own(wire::shm);
}

TEST_CASE("bundles of another process arrive whole, into memory that is used again") {
  for (const wire how : {wire::tcp, wire::shm}) {
    owner_process owner(how);
    data_plane plane(options_of(2, how));
    plane.add_peer(1, owner.address());
    for (std::size_t i = 0; i < std::size(owned_sizes); ++i) {
      const auto got = pull(plane, owner_process::ticket_of(i));
      REQUIRE_MESSAGE(got, got.error);
      CHECK(same(got.value, random_bundle(owned_sizes[i], i)));
    }
    const auto before = plane.stats().pool_bytes;
    CHECK(pull(plane, owner_process::ticket_of(3)));
    CHECK(plane.stats().pool_bytes == before);
    MESSAGE(plane.describe());
    CHECK((plane.describe().find("its memory is mapped") != std::string::npos) == (how == wire::shm));
  }
}

TEST_CASE("of another process's bundle, only the columns that are wanted travel") {
  for (const wire how : {wire::tcp, wire::shm}) {
    owner_process owner(how);
    data_plane plane(options_of(2, how));
    plane.add_peer(1, owner.address());
    const auto big = owner_process::ticket_of(3); // 64 MiB of bytes and three floats
    const auto got = pull(plane, big, {.required = {"floats"}, .optional = {"texts"}});
    REQUIRE_MESSAGE(got, got.error);
    REQUIRE(got.value.columns().size() == 1);
    CHECK(got.value.view<float>("floats")[2] == 3);
    CHECK(plane.stats().bytes_pulled == 12);
    CHECK(pull(plane, big, {.required = {"bytes"}}));
    CHECK(plane.stats().bytes_pulled == 12 + (64 << 20));
    CHECK(pull(plane, big));
    CHECK(plane.stats().bytes_pulled == 2 * (12 + (64 << 20)));
  }
}

TEST_CASE("SIGKILL of the owner in mid-pull ends every pull at once, and its next life is pulled from") {
  for (const wire how : {wire::tcp, wire::shm}) {
    auto owner = std::make_unique<owner_process>(how);
    data_plane plane(options_of(2, how));
    plane.add_peer(1, owner->address());
    const ticket big = owner_process::ticket_of(3);
    constexpr int pulls = 24;
    std::atomic<int> left = pulls, lost = 0;
    std::promise<void> done;
    clk::time_point killed;
    for (int i = 0; i < pulls; ++i)
      plane.pull(big, 30s, [&](pull_result got) {
        if (got && killed == clk::time_point{}) {
          killed = clk::now();
          owner->signal(SIGKILL);
        }
        lost += got.status == pull_status::peer_lost;
        if (--left == 0)
          done.set_value();
      });
    REQUIRE(done.get_future().wait_for(20s) == std::future_status::ready);
    MESSAGE("all pulls ended " << milliseconds_since(killed) << " ms after the SIGKILL");
    CHECK(milliseconds_since(killed) < 1000);
    CHECK(lost >= 1);
    CHECK(pull(plane, big).status == pull_status::peer_lost);

    owner = std::make_unique<owner_process>(how);
    plane.add_peer(1, owner->address());
    const auto got = pull(plane, big);
    CHECK_MESSAGE(got, got.error);
  }
}

TEST_CASE("a frozen owner costs no more than the deadline, and dropping it ends the rest at once") {
  for (const wire how : {wire::tcp, wire::shm}) {
    owner_process owner(how);
    data_plane plane(options_of(2, how));
    plane.add_peer(1, owner.address());
    const ticket big = owner_process::ticket_of(3);
    CHECK(pull(plane, big));
    owner.freeze();
    auto start = clk::now();
    CHECK(pull(plane, big, 100ms).status == pull_status::timed_out);
    CHECK(milliseconds_since(start) >= 100);
    CHECK(milliseconds_since(start) < 1000);

    std::promise<pull_result> open;
    plane.pull(big, 30s, [&](pull_result got) { open.set_value(std::move(got)); });
    start = clk::now();
    plane.drop_peer(1);
    CHECK(open.get_future().get().status == pull_status::peer_lost);
    MESSAGE("drop_peer of a frozen owner ended its pull after " << milliseconds_since(start) << " ms");
    CHECK(milliseconds_since(start) < 1000);
  }
}

TEST_CASE("a SIGKILL is noticed on an idle connection too") {
  for (const wire how : {wire::tcp, wire::shm}) {
    owner_process owner(how);
    data_plane plane(options_of(2, how));
    plane.add_peer(1, owner.address());
    CHECK(pull(plane, owner_process::ticket_of(1)));
    const auto start = clk::now();
    owner.signal(SIGKILL);
    CHECK(eventually([&] { return plane.describe().find("node 1: gone: connection lost") != std::string::npos; }));
    MESSAGE("noticed after " << milliseconds_since(start) << " ms");
  }
}

TEST_CASE("a bundle of a process of this host is read where its owner put it, and outlives the owner") {
  auto owner = std::make_unique<owner_process>(wire::automatic);
  reader two(wire::automatic);
  two.plane->add_peer(1, owner->address());
  const int before = lent_mappings();
  auto got = pull(*two.plane, owner_process::ticket_of(3));
  REQUIRE_MESSAGE(got, got.error);
  CHECK(two.plane->stats().bytes_mapped == got.value.bytes());
  CHECK(two.plane->stats().bytes_pulled == got.value.bytes());
  CHECK(two.plane->stats().pool_high_water == 0);
  CHECK(two.lines().empty());
  CHECK(lent_mappings() == before + 1);
  owner.reset(); // SIGKILL
  CHECK(same(got.value, random_bundle(owned_sizes[3], 3)));
  got = {};
  CHECK(lent_mappings() == before);
}

TEST_CASE("small bundles, and few columns of large ones, are copied") {
  owner_process owner(wire::automatic);
  reader two(wire::automatic);
  two.plane->add_peer(1, owner.address());
  const int before = lent_mappings();
  CHECK(pull(*two.plane, owner_process::ticket_of(2)));
  const auto floats = pull(*two.plane, owner_process::ticket_of(3), {.required = {"floats"}});
  CHECK(floats);
  CHECK(two.plane->stats().bytes_mapped == 0);
  CHECK(lent_mappings() == before);
}

TEST_CASE("where one side says tcp, everything is copied, without a word") {
  for (const auto& [ours, theirs] : {std::pair(wire::tcp, wire::automatic), std::pair(wire::automatic, wire::tcp)}) {
    owner_process owner(theirs);
    reader two(ours);
    two.plane->add_peer(1, owner.address());
    CHECK(pull(*two.plane, owner_process::ticket_of(3)));
    CHECK(two.plane->stats().bytes_mapped == 0);
    CHECK(two.lines().empty());
  }
  owner_process owner(wire::tcp);
  reader two(wire::shm);
  two.plane->add_peer(1, owner.address());
  const auto got = pull(*two.plane, owner_process::ticket_of(3));
  CHECK(got.status == pull_status::not_shared);
  CHECK(got.error.find("its memory cannot be mapped here: it lends none") != std::string::npos);
}

TEST_CASE("the memory of another user's process is not lent: one line, and a copy; an error where it is demanded") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can be another user");
    return;
  }
  ::setenv(other_user, "1", 1);
  owner_process owner(wire::automatic);
  ::unsetenv(other_user);
  reader two(wire::automatic);
  two.plane->add_peer(1, owner.address());
  for (int i = 0; i < 2; ++i) {
    const auto got = pull(*two.plane, owner_process::ticket_of(3));
    REQUIRE_MESSAGE(got, got.error);
  }
  CHECK(two.plane->stats().bytes_mapped == 0);
  REQUIRE(two.lines().size() == 1);
  CHECK(two.lines()[0]
        == "node 1 of this host cannot lend its memory (it is user 65534's, this process user 0's): its tensors are "
           "copied");
  reader three(wire::shm);
  three.plane->add_peer(1, owner.address());
  CHECK(pull(*three.plane, owner_process::ticket_of(3)).status == pull_status::not_shared);
}

TEST_CASE("a reader without a free descriptor copies, and says so once") {
  for (const wire how : {wire::automatic, wire::shm}) {
    owner_process owner(wire::automatic);
    reader two(how);
    two.plane->add_peer(1, owner.address());
    REQUIRE(pull(*two.plane, owner_process::ticket_of(3)));
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const int first_free = ::dup(0);
    ::close(first_free);
    rlimit none = before;
    none.rlim_cur = static_cast<rlim_t>(first_free); // whatever is open stays so
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    const auto got = pull(*two.plane, owner_process::ticket_of(3)),
               again = pull(*two.plane, owner_process::ticket_of(3));
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    if (how == wire::shm) {
      CHECK(got.status == pull_status::not_shared);
      continue;
    }
    REQUIRE_MESSAGE(got, got.error);
    CHECK(same(got.value, random_bundle(owned_sizes[3], 3)));
    CHECK(again);
    CHECK(two.plane->stats().bytes_mapped == got.value.bytes());
    REQUIRE(two.lines().size() == 1);
    CHECK(two.lines()[0].find("no descriptor came") != std::string::npos);
  }
}

TEST_CASE("an owner that is frozen before it has answered at its door costs a pull its deadline") {
  owner_process owner(wire::automatic);
  owner.freeze();
  reader two(wire::automatic);
  two.plane->add_peer(1, owner.address());
  const ticket big = owner_process::ticket_of(3);
  const auto start = clk::now();
  CHECK(pull(*two.plane, big, 100ms).status == pull_status::timed_out);
  CHECK(milliseconds_since(start) < 1000);
  std::promise<pull_result> open;
  two.plane->pull(big, 30s, [&](pull_result got) { open.set_value(std::move(got)); });
  owner.signal(SIGCONT);
  const auto got = open.get_future().get();
  REQUIRE_MESSAGE(got, got.error);
  CHECK(two.plane->stats().bytes_mapped == got.value.bytes());
}

TEST_CASE("a door is known by name alone, which ends with its process, and opens to nobody without the key") {
  auto owner = std::make_unique<owner_process>(wire::automatic);
  const auto where = read_address(owner->address());
  REQUIRE(where);
  const auto listed = [&] { return tests::read_file("/proc/net/unix").find(where->door) != std::string::npos; };
  CHECK(listed());
  boost::asio::io_context loop;
  const auto line = descriptor_line::to_door(loop, where->door);
  message knock;
  knock.kind = message_kind::knock;
  knock.from = 2;
  knock.from_life = 7;
  knock.to = 1;
  knock.to_life = where->life;
  knock.sequence = 1;
  auto key = options_of(1).key;
  key[0] ^= std::byte{1};
  seal(knock, key);
  int messages = 0;
  bool closed = false;
  line->listen([&](std::span<const std::byte>, int) { ++messages; }, [&] { closed = true; });
  REQUIRE(line->send(std::as_bytes(std::span(&knock, 1))));
  loop.run_for(10s);
  CHECK(closed);
  CHECK(messages == 0);
  owner.reset(); // SIGKILL
  CHECK_FALSE(listed());
}

} // namespace two_processes_test
