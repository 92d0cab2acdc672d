#include "runtime/cluster/child_process.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <mutex>

namespace child_process_test {

using namespace millrace::cluster;

namespace {

/// Collects exits and waits for them with a deadline.
struct exits {
  std::mutex mutex;
  std::condition_variable arrived;
  std::vector<child_exit> seen;

  void add(child_exit e) {
    const std::lock_guard lock(mutex);
    seen.push_back(std::move(e));
    arrived.notify_all();
  }

  bool wait_for(std::size_t count) {
    std::unique_lock lock(mutex);
    return arrived.wait_for(lock, std::chrono::seconds(10), [&] { return seen.size() >= count; });
  }
};

} // namespace

// The child is this test program: doctest's own flags make it end at once (--version) or with an error.
TEST_CASE("a child that ends by itself is reported once, with how it ended") {
  exits log;
  child_processes children([&](child_exit e) { log.add(std::move(e)); });
  const pid_t child = children.start({.arguments = {"--version"}});
  REQUIRE(log.wait_for(1));
  CHECK(log.seen[0].pid == child);
  CHECK(log.seen[0].how == "exit status 0");
  CHECK(log.seen[0].status == 0);
  CHECK(children.wait_all(1));
}

TEST_CASE("a killed child is reported with its signal") {
  exits log;
  child_processes children([&](child_exit e) { log.add(std::move(e)); });
  const pid_t child = children.start({.arguments = {"--test-case=*waits until it is killed*", "--no-skip"},
                                      .environment = {{"MILLRACE_TEST_WAIT", "1"}}});
  children.signal(child, SIGKILL);
  REQUIRE(log.wait_for(1));
  CHECK(log.seen[0].how.starts_with("signal 9"));
  CHECK(log.seen[0].status == 128 + SIGKILL);
}

TEST_CASE("another program gets what is written to its stdin, and one that is not there ends with 127") {
  exits log;
  child_processes children([&](child_exit e) { log.add(std::move(e)); });
  int line[2];
  REQUIRE(pipe2(line, O_CLOEXEC) == 0);
  children.start({.arguments = {"-c", "read word; exit $word"}, .program = "/bin/sh", .input = line[0]});
  close(line[0]);
  REQUIRE(write(line[1], "42\n", 3) == 3);
  REQUIRE(log.wait_for(1));
  CHECK(log.seen[0].status == 42);
  close(line[1]);
  children.start({.arguments = {}, .program = "/no/such/program"});
  REQUIRE(log.wait_for(2));
  CHECK(log.seen[1].status == 127);
}

TEST_CASE("no signal that asks a program to stop ends a child, from its first moment on") {
  exits log;
  child_processes children([&](child_exit e) { log.add(std::move(e)); });
  const pid_t child = children.start({.arguments = {"--test-case=*waits until it is killed*", "--no-skip"},
                                      .environment = {{"MILLRACE_TEST_WAIT", "1"}}});
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGKILL})
    children.signal(child, number);
  REQUIRE(log.wait_for(1));
  CHECK(log.seen[0].how.starts_with("signal 9"));
}

TEST_CASE("destroying the object kills and reaps what still runs") {
  exits log;
  pid_t child = 0;
  {
    child_processes children([&](child_exit e) { log.add(std::move(e)); });
    child = children.start({.arguments = {"--test-case=*waits until it is killed*", "--no-skip"},
                            .environment = {{"MILLRACE_TEST_WAIT", "1"}}});
    CHECK_FALSE(children.wait_all(0));
  }
  REQUIRE(log.seen.size() == 1);
  CHECK(log.seen[0].pid == child);
  CHECK(kill(child, 0) == -1);
}

TEST_CASE("helper of the tests above: waits until it is killed" * doctest::skip()) {
  if (std::getenv("MILLRACE_TEST_WAIT")) {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable never;
    never.wait_for(lock, std::chrono::seconds(30), [] { return false; });
  }
}

} // namespace child_process_test
