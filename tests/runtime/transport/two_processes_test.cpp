#include "tests/runtime/transport/planes.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

extern char** environ;

namespace two_processes_test {

using namespace millrace;
using namespace millrace::transport;
using namespace millrace::transport::testing;
using namespace std::chrono_literals;
using clk = std::chrono::steady_clock;

namespace {

constexpr int to_parent = 3, from_parent = 4; // descriptors of the child
constexpr std::size_t sizes[] = {0, 1, 100'000, 64 << 20};

bool write_all(int to, const void* data, std::size_t bytes) {
  return ::write(to, data, bytes) == static_cast<ssize_t>(bytes);
}

/// This program again, running the test case "owner process" as node 1 with a bundle of each size, tickets 1, 2, ...
class owner_process {
public:
  explicit owner_process(wire how) {
    int up[2], down[2];
    REQUIRE(::pipe2(up, O_CLOEXEC) == 0);
    REQUIRE(::pipe2(down, O_CLOEXEC) == 0);
    // Out of the way first, so that no source is a target, whatever descriptors this process was started with.
    for (int* end : {&up[1], &down[0]}) {
      const int high = ::fcntl(*end, F_DUPFD_CLOEXEC, from_parent + 1);
      REQUIRE(high > from_parent);
      ::close(*end);
      *end = high;
    }
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, up[1], to_parent);
    ::posix_spawn_file_actions_adddup2(&actions, down[0], from_parent);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    std::string program = "/proc/self/exe", all = "--no-skip", which = "--test-case=owner process over ";
    which += how == wire::shm ? "shm" : "tcp";
    char* arguments[] = {program.data(), all.data(), which.data(), nullptr};
    REQUIRE(::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments, environ) == 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(up[1]);
    ::close(down[0]);
    alive_ = down[1];
    std::vector<std::byte> message(4096);
    const auto got = ::read(up[0], message.data(), message.size());
    ::close(up[0]);
    REQUIRE(got > 0);
    address_.assign(message.begin(), message.begin() + got);
  }

  ~owner_process() {
    signal(SIGKILL);
    ::close(alive_);
    ::waitpid(pid_, nullptr, 0);
  }

  owner_process(const owner_process&) = delete;
  owner_process& operator=(const owner_process&) = delete;

  void signal(int number) const { ::kill(pid_, number); }

  const std::vector<std::byte>& address() const { return address_; }

  static ticket ticket_of(std::size_t index) {
    const bundle b = random_bundle(sizes[index], index);
    return {.owner = 1, .id = index + 1, .bytes = b.bytes(), .layout = b.layout(), .checksums = b.checksums()};
  }

private:
  pid_t pid_ = -1;
  int alive_ = -1;
  std::vector<std::byte> address_;
};

void own(wire how) {
  data_plane plane(options_of(1, how));
  for (std::size_t i = 0; i < std::size(sizes); ++i)
    plane.publish(random_bundle(sizes[i], i));
  const auto address = plane.address();
  REQUIRE(write_all(to_parent, address.data(), address.size()));
  char nothing;
  while (::read(from_parent, &nothing, 1) > 0) {
  }
}

double milliseconds_since(clk::time_point start) {
  return std::chrono::duration<double, std::milli>(clk::now() - start).count();
}

} // namespace

TEST_CASE("owner process over tcp" * doctest::skip()) {
  own(wire::tcp);
}

TEST_CASE("owner process over shm" * doctest::skip()) {
  own(wire::shm);
}

TEST_CASE("bundles of another process arrive whole, into memory that is used again") {
  for (const wire how : {wire::tcp, wire::shm}) {
    owner_process owner(how);
    data_plane plane(options_of(2, how));
    plane.add_peer(1, owner.address());
    for (std::size_t i = 0; i < std::size(sizes); ++i) {
      const auto got = pull(plane, owner_process::ticket_of(i));
      REQUIRE_MESSAGE(got, got.error);
      CHECK(same(got.value, random_bundle(sizes[i], i)));
    }
    const auto before = plane.stats().pool_bytes;
    CHECK(pull(plane, owner_process::ticket_of(3)));
    CHECK(plane.stats().pool_bytes == before);
    MESSAGE(plane.describe());
    CHECK((plane.describe().find("bytes over") != std::string::npos) == (how == wire::shm));
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
    owner.signal(SIGSTOP);
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

} // namespace two_processes_test
