#pragma once

#include "tests/runtime/transport/planes.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

extern char** environ;

namespace millrace::transport::testing {

inline constexpr int to_parent = 3, from_parent = 4; // descriptors of the child
inline constexpr std::size_t owned_sizes[] = {0, 1, 100'000, 64 << 20};

inline bool write_all(int to, const void* data, std::size_t bytes) {
  return ::write(to, data, bytes) == static_cast<ssize_t>(bytes);
}

/// This program again, running its test case "owner process over WIRE" as node 1 with a bundle of each size, tickets 1,
/// 2, ...
class owner_process {
public:
  explicit owner_process(wire how)
      : owner_process(std::string("owner process over ")
                      + (how == wire::shm   ? "shm"
                         : how == wire::tcp ? "tcp"
                                            : "auto")) {}

  /// @param test_case what it runs, which says its address first, as `own` does
  explicit owner_process(const std::string& test_case) {
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
    std::string program = "/proc/self/exe", all = "--no-skip", which = "--test-case=" + test_case;
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

  /// SIGSTOP, and waits until every thread has stopped.
  void freeze() const {
    signal(SIGSTOP);
    int status = 0;
    REQUIRE(::waitpid(pid_, &status, WUNTRACED) == pid_);
    REQUIRE(WIFSTOPPED(status));
  }

  const std::vector<std::byte>& address() const { return address_; }

  /// Sends it something, on `from_parent`.
  void tell(const std::vector<std::byte>& bytes) const { REQUIRE(write_all(alive_, bytes.data(), bytes.size())); }

  static ticket ticket_of(std::size_t index) {
    const bundle b = random_bundle(owned_sizes[index], index);
    return {.owner = 1, .id = index + 1, .bytes = b.bytes(), .layout = b.layout(), .checksums = b.checksums()};
  }

private:
  pid_t pid_ = -1;
  int alive_ = -1;
  std::vector<std::byte> address_;
};

/// What the test case "owner process over ..." does: it owns until its parent closes the pipe, or kills it.
inline void own(wire how) {
  data_plane plane(options_of(1, how));
  for (std::size_t i = 0; i < std::size(owned_sizes); ++i)
    plane.publish(random_bundle(owned_sizes[i], i));
  const auto address = plane.address();
  REQUIRE(write_all(to_parent, address.data(), address.size()));
  char nothing;
  while (::read(from_parent, &nothing, 1) > 0) {
  }
}

} // namespace millrace::transport::testing
