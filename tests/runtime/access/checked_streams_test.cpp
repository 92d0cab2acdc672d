#include "runtime/access/checked_streams.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

namespace checked_streams_test {

using namespace millrace::access;

namespace {

/// "N" announces N mebibytes, "s" sends all that is announced, "x" breaks the rules.
class simple_rules final : public stream_check {
public:
  std::string take(std::span<const std::byte> bytes) override {
    const auto letter = std::to_integer<char>(bytes[0]);
    if (letter == 'x')
      return "an x";
    promised_ = letter == 's' ? 0 : static_cast<std::size_t>(letter - '0') << 20;
    return "";
  }

  std::size_t promised() const override { return promised_; }

private:
  std::size_t promised_ = 0;
};

/// A connection whose one end is checked.
struct checked_pair {
  int ends[2] = {-1, -1};

  checked_pair() {
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    check_stream(ends[0], std::make_unique<simple_rules>());
  }

  ~checked_pair() {
    ::close(ends[0]);
    ::close(ends[1]);
  }

  checked_pair(const checked_pair&) = delete;
  checked_pair& operator=(const checked_pair&) = delete;

  /// @returns what the library at the checked end gets: the number of bytes, or minus errno
  int say(char letter) const {
    if (::send(ends[1], &letter, 1, MSG_NOSIGNAL) != 1)
      return -errno;
    char got = 0;
    const auto bytes = ::recv(ends[0], &got, 1, 0);
    return bytes < 0 ? -errno : static_cast<int>(bytes);
  }
};

} // namespace

TEST_CASE("what breaks the rules does not reach the library, and nothing after it does") {
  std::vector<std::string> told;
  tell_broken_streams([&](const std::string&, const std::string& why) { told.push_back(why); });
  const checked_pair pair;
  CHECK(pair.say('1') == 1);
  CHECK(pair.say('s') == 1);
  CHECK(pair.say('x') == -ECONNRESET);
  CHECK(pair.say('s') == -EPIPE); // the other side sees the end
  CHECK(told == std::vector<std::string>{"an x"});
  tell_broken_streams(nullptr);
}

TEST_CASE("of those that announce more than all may, the ones that are silent for longest are given up") {
  std::vector<std::string> told;
  tell_broken_streams([&](const std::string&, const std::string& why) { told.push_back(why); });
  std::vector<std::unique_ptr<checked_pair>> silent;
  for (int i = 0; i < 8; ++i)
    CHECK(silent.emplace_back(std::make_unique<checked_pair>())->say('8') == 1); // 64 MiB together
  const checked_pair honest;
  CHECK(told.empty());
  CHECK(honest.say('9') == 1); // goes through, at the cost of the two oldest
  CHECK(told.size() == 2);
  CHECK(told.front().ends_with(" bytes and sends none, while others send"));
  CHECK(silent[0]->say('s') == -EPIPE);
  CHECK(silent[1]->say('s') == -EPIPE);
  CHECK(silent[2]->say('s') == 1);
  CHECK(honest.say('s') == 1);
  tell_broken_streams(nullptr);
}

TEST_CASE("a socket that has another's number is not taken for it") {
  int number = -1;
  {
    const checked_pair pair;
    number = pair.ends[0];
  }
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  CHECK(ends[0] == number);
  const std::byte x{'x'};
  CHECK(may_have(ends[0], {&x, 1}));
  ::close(ends[0]);
  ::close(ends[1]);
}

} // namespace checked_streams_test
