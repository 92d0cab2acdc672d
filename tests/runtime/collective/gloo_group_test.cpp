#include "runtime/access/socket_calls.hpp"
#include "runtime/collective/gloo_group.hpp"
#include "tests/runtime/collective/rank_process.hpp"
#include "tests/support/eventually.hpp"

#include <filesystem>

namespace gloo_group_test {

using namespace millrace::collective;
using namespace millrace::collective::testing;
using namespace millrace::tests;
using namespace std::chrono_literals;

namespace {

std::ptrdiff_t entries_of(const char* folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

/// Begins an exchange of 256 MiB with the other process, and comes back when its first byte is here.
struct much_under_way {
  explicit much_under_way(mixed_group& group) {
    group.other.say("exchange-much");
    thread = std::thread([&group, this] {
      const std::vector<at::Tensor> out(group.own.size() + 1, at::ones({256 << 20}, at::kByte));
      try {
        group.own[0]->exchange(out, in);
      } catch (const lost& reason) {
        thrown = reason.what();
      }
    });
    const volatile auto* const first = in.back().const_data_ptr<std::uint8_t>();
    CHECK(eventually([&] { return *first == 1; }));
  }

  ~much_under_way() {
    if (thread.joinable())
      thread.join();
  }

  std::vector<at::Tensor> in{at::Tensor(), at::zeros({256 << 20}, at::kByte)};
  std::string thrown;
  std::thread thread;
};

} // namespace

TEST_CASE("SIGKILL of a rank ends the exchange of all others at once, and names it") { // CO-2
  mixed_group group(4);
  group.other.say("exchange");
  CHECK(group.exchange() == std::vector<std::string>(3));
  clk::time_point killed;
  std::thread killer([&] {
    CHECK(eventually([&] {
      return std::all_of(group.own.begin(), group.own.end(), [](const auto& one) {
        const auto waits = one->waits();
        return waits && waits->on == std::vector<int>{3};
      });
    }));
    killed = clk::now();
    group.other.signal(SIGKILL);
  });
  const auto thrown = group.exchange();
  killer.join();
  MESSAGE("ended " << milliseconds_since(killed) << " ms after the SIGKILL: " << thrown[0]);
  CHECK(milliseconds_since(killed) < 1000);
  for (const auto& why : thrown)
    CHECK_MESSAGE(why.starts_with("rank 3 is gone: "), why);
  CHECK(group.exchange() == thrown); // CO-3
  CHECK_FALSE(group.own[0]->waits());
}

TEST_CASE("SIGKILL in the middle of a large tensor ends the exchange at once, too") { // CO-2
  mixed_group group(2);
  much_under_way much(group);
  const auto killed = clk::now();
  group.other.signal(SIGKILL);
  much.thread.join();
  MESSAGE("ended " << milliseconds_since(killed) << " ms after the SIGKILL: " << much.thrown);
  CHECK(milliseconds_since(killed) < 1000);
  CHECK(much.thrown.starts_with("rank 1 is gone: "));
}

TEST_CASE("a rank that destroys its group ends the exchange of the others") { // CO-2
  auto groups = connected(3);
  std::thread leaver([&] {
    CHECK(eventually([&] { return groups[0]->waits() && groups[1]->waits(); }));
    groups[2].reset();
  });
  const auto start = clk::now();
  const auto thrown = on_ranks(2, [&](int rank) { exchange_one(*groups[static_cast<std::size_t>(rank)]); });
  leaver.join();
  CHECK(milliseconds_since(start) < 1000);
  for (const auto& why : thrown)
    CHECK_MESSAGE(why.starts_with("rank 2 is gone: "), why);
}

TEST_CASE("an abort ends an exchange with a frozen rank at once, and the group can be destroyed at once") {
  for (const bool in_the_middle : {false, true}) {
    mixed_group group(2);
    std::optional<much_under_way> much;
    if (in_the_middle)
      much.emplace(group);
    group.other.signal(SIGSTOP);
    group.other.stopped();
    std::vector<std::string> thrown{""};
    std::thread waiting;
    if (!in_the_middle)
      waiting = std::thread([&] { thrown = group.exchange(); });
    CHECK(eventually([&] {
      const auto waits = group.own[0]->waits();
      return waits && waits->on == std::vector<int>{1};
    }));
    auto start = clk::now();
    group.own[0]->abort("host 7 does not answer");
    if (in_the_middle) {
      much->thread.join();
      thrown[0] = much->thrown;
    } else {
      waiting.join();
    }
    MESSAGE("ended " << milliseconds_since(start) << " ms after the abort");
    CHECK(milliseconds_since(start) < 1000);
    CHECK(thrown[0] == "host 7 does not answer");
    CHECK(group.exchange()[0] == "host 7 does not answer"); // CO-3
    start = clk::now();
    group.own[0].reset();
    MESSAGE("destroyed within " << milliseconds_since(start) << " ms");
    CHECK(milliseconds_since(start) < 1000);
  }
}

TEST_CASE("an abort before an exchange ends it before it begins") {
  const auto groups = connected(2);
  groups[0]->abort("no more");
  groups[0]->abort("another reason");
  CHECK_THROWS_WITH_AS(exchange_one(*groups[0]), "no more", lost);
}

TEST_CASE("a frozen rank costs no more than the deadline, and is named by all others") {
  mixed_group group(3, 300ms);
  group.other.signal(SIGSTOP);
  group.other.stopped();
  const auto start = clk::now();
  const auto thrown = group.exchange();
  MESSAGE("ended after " << milliseconds_since(start) << " ms");
  CHECK(milliseconds_since(start) >= 300);
  CHECK(milliseconds_since(start) < 1300);
  CHECK(thrown == std::vector<std::string>(2, "rank 2 has not come to the exchange within 300 ms"));
}

TEST_CASE("a rank that freezes in the middle of a tensor is late with its bytes") {
  mixed_group group(2, 3s);
  much_under_way much(group);
  group.other.signal(SIGSTOP);
  much.thread.join();
  CHECK(much.thrown == "rank 1 has not sent or taken all bytes of the exchange within 3000 ms");
}

TEST_CASE("a rank that never comes is named at the deadline") {
  const words_of_all words(3);
  const auto start = clk::now();
  const auto thrown = on_ranks(2, [&](int rank) {
    auto options = options_of(rank, 3);
    options.connect_deadline = 300ms;
    connect_gloo(options, words.of(rank));
  });
  CHECK(milliseconds_since(start) >= 300);
  CHECK(milliseconds_since(start) < 1300);
  CHECK(thrown == std::vector<std::string>(2, "rank 2 has not come to the group within 300 ms"));
}

TEST_CASE("a rank that freezes while it connects costs no more than the deadline, or ends with an abort") {
  for (const bool aborts : {false, true, false, true}) { // who connects to whom is chance: the ports decide
    rank_process frozen(1, 2);
    const words_of_all words(
        1, [&](const std::string& key, const std::string& value) { frozen.say("word " + key + " " + value); });
    frozen.told_to(words);
    frozen.say("stop-after-words");
    frozen.say("connect");
    frozen.stopped();
    auto options = options_of(0, 2);
    if (!aborts)
      options.connect_deadline = 500ms;
    const auto start = clk::now();
    std::thread aborter([&] {
      if (aborts)
        words.of(0)->abort("host 7 does not answer");
    });
    const auto thrown = on_ranks(1, [&](int) { connect_gloo(options, words.of(0)); });
    aborter.join();
    CHECK(milliseconds_since(start) < 1500);
    CHECK(thrown[0] == (aborts ? "host 7 does not answer" : "rank 1 has not come to the group within 500 ms"));
  }
}

TEST_CASE("a rank that dies while it connects is gone, or has not come") {
  for (int again = 0; again < 6; ++again) {
    rank_process dying(2, 3);
    const words_of_all words(2, [&](const std::string&, const std::string&) {});
    dying.told_to(words);
    dying.say("stop-after-words");
    dying.say("connect");
    dying.stopped();
    std::thread killer([&] {
      if (again % 2 == 1) // once the others have begun
        CHECK(eventually([&] { return words.of(0)->has("0/1") && words.of(1)->has("0/0"); }));
      dying.signal(SIGKILL);
    });
    const auto start = clk::now();
    const auto thrown = on_ranks(2, [&](int rank) {
      auto options = options_of(rank, 3);
      options.connect_deadline = 500ms;
      connect_gloo(options, words.of(rank));
    });
    killer.join();
    // Who is refused leaves at once, and is gone itself to a rank that waits for the dead one to connect.
    CHECK(std::any_of(thrown.begin(), thrown.end(), [](const auto& why) {
      return why.starts_with("rank 2 is gone: ") || why == "rank 2 has not come to the group within 500 ms";
    }));
    for (const auto& why : thrown)
      CHECK_MESSAGE((why.starts_with("rank ") && why.find("enforce") == std::string::npos), why);
    CHECK(milliseconds_since(start) < 1500);
  }
}

TEST_CASE("after a loss a new group forms in the same process, and nothing of the old ones stays") {
  CHECK(on_ranks(2, [&](int) {}) == std::vector<std::string>(2));
  exchange_one(*connected(1)[0]);
  connected(2);
  const auto threads = entries_of("/proc/self/task"), files = entries_of("/proc/self/fd");
  for (int again = 0; again < 3; ++again) {
    auto groups = connected(3);
    groups[1].reset();
    const auto thrown = on_ranks(3, [&](int rank) {
      if (const auto& one = groups[static_cast<std::size_t>(rank)])
        exchange_one(*one);
    });
    CHECK(thrown[0].starts_with("rank 1 is gone: "));
    CHECK(thrown[2].starts_with("rank 1 is gone: "));
    const auto start = clk::now();
    groups.clear();
    CHECK(milliseconds_since(start) < 1000);
  }
  CHECK(eventually([&] { return entries_of("/proc/self/task") <= threads; }));
  CHECK(eventually([&] { return entries_of("/proc/self/fd") <= files; }));
}

} // namespace gloo_group_test
