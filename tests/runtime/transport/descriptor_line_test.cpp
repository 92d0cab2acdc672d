#include "runtime/transport/descriptor_line.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace descriptor_line_test {

using namespace millrace::transport;
using namespace std::chrono_literals;

namespace {

std::string name_of_test() {
  return "millrace-test-" + std::to_string(::getpid());
}

/// What `text` says, as bytes.
std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// What `work` returns in a process of its own.
template <class Work>
int in_a_child(Work work) {
  const pid_t child = ::fork();
  if (child == 0)
    ::_exit(work());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace

TEST_CASE("messages and descriptors come over a line, in order, and its end is told once") {
  boost::asio::io_context loop;
  std::vector<std::string> heard;
  std::vector<int> lent;
  int ends = 0;
  std::shared_ptr<descriptor_line> inside;
  descriptor_door door(loop, name_of_test(), [&](std::shared_ptr<descriptor_line> line) {
    inside = std::move(line);
    inside->listen(
        [&](std::span<const std::byte> bytes, int descriptor) {
          heard.push_back(as_text(bytes));
          lent.push_back(descriptor);
        },
        [&] { ++ends; });
  });
  const auto outside = descriptor_line::to_door(loop, name_of_test());
  int pipe[2];
  REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
  CHECK(outside->send(as_bytes("one")));
  CHECK(outside->send(as_bytes("two"), pipe[0]));
  ::close(pipe[0]);
  outside->close();
  CHECK_FALSE(outside->send(as_bytes("three")));
  loop.run_for(200ms);
  CHECK(heard == std::vector<std::string>{"one", "two"});
  CHECK(ends == 1);
  REQUIRE(lent.size() == 2);
  CHECK(lent[0] == -1);
  REQUIRE(::write(pipe[1], "x", 1) == 1);
  char read = 0;
  CHECK(::read(lent[1], &read, 1) == 1);
  CHECK(read == 'x');
  ::close(lent[1]);
  ::close(pipe[1]);
}

TEST_CASE("of two descriptors in one message one comes, and the other is closed") {
  boost::asio::io_context loop;
  int ends[2], pipe[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
  const auto line = std::make_shared<descriptor_line>(loop, ends[0]);
  int lent = -1;
  line->listen([&](std::span<const std::byte>, int descriptor) { lent = descriptor; }, [] {});
  const int two[2] = {pipe[1], pipe[1]};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof two)] = {};
  char byte = 'x';
  iovec piece{&byte, 1};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof two);
  std::memcpy(CMSG_DATA(rights), two, sizeof two);
  REQUIRE(::sendmsg(ends[1], &message, 0) == 1);
  ::close(ends[1]);
  loop.run_for(200ms);
  REQUIRE(lent >= 0);
  ::close(lent);
  ::close(pipe[1]);
  char nothing = 0;
  CHECK(::read(pipe[0], &nothing, 1) == 0); // no end to write to is left open
  ::close(pipe[0]);
}

TEST_CASE("a line that nobody reads is full at some time, and says so") {
  boost::asio::io_context loop;
  descriptor_door door(loop, name_of_test(), [](const std::shared_ptr<descriptor_line>&) {});
  const auto line = descriptor_line::to_door(loop, name_of_test());
  int sent = 0;
  while (sent < 1'000'000 && line->send(as_bytes(std::string(100, 'x'))))
    ++sent;
  CHECK(sent >= 100);
  CHECK(sent < 1'000'000);
}

TEST_CASE("a door that is not there, a taken or a long name: one line each") {
  boost::asio::io_context loop;
  CHECK_THROWS_WITH_AS(descriptor_line::to_door(loop, "nobody is here"), "connect: Connection refused",
                       std::runtime_error);
  const descriptor_door door(loop, name_of_test(), {});
  CHECK_THROWS_WITH_AS((descriptor_door{loop, name_of_test(), {}}), "bind: Address already in use", std::runtime_error);
  CHECK_THROWS_WITH_AS((descriptor_door{loop, std::string(200, 'x'), {}}),
                       "the name of a door has 200 bytes, want 1 to 107", std::runtime_error);
}

TEST_CASE("another host on the same kernel has another identity, and does not see the door") {
  CHECK(host_identity() == host_identity());
  CHECK(host_identity().find('/') != std::string::npos);
  boost::asio::io_context loop;
  const descriptor_door door(loop, name_of_test(), {});
  const auto here = host_identity();
  const int found = in_a_child([&] {
    if (::unshare(CLONE_NEWNET) != 0)
      return 2;
    if (host_identity() == here)
      return 1;
    try {
      descriptor_line::to_door(loop, name_of_test());
      return 1;
    } catch (const std::runtime_error&) {
      return 0;
    }
  });
  if (found == 2)
    MESSAGE("skipped: this machine lets us make no network namespace");
  else
    CHECK(found == 0);
}

} // namespace descriptor_line_test
