#include "runtime/collective/rendezvous.hpp"
#include "tests/runtime/collective/ranks.hpp"

namespace rendezvous_test {

using namespace millrace::collective;
using namespace millrace::collective::testing;
using namespace std::chrono_literals;

TEST_CASE("an own word is kept and told to the others") {
  std::vector<std::pair<std::string, std::string>> said;
  rendezvous words([&](std::string key, std::string value) { said.emplace_back(std::move(key), std::move(value)); });
  CHECK_FALSE(words.has("a"));
  words.put("a", "1");
  CHECK(words.has("a"));
  CHECK(words.wait("a", "rank 0", clk::now(), 0ms) == "1");
  CHECK(said == std::vector<std::pair<std::string, std::string>>{{"a", "1"}});
}

TEST_CASE("who waits for a word gets it when it comes, or is told who did not say it") {
  rendezvous words([](const std::string&, const std::string&) {});
  auto waits = std::async(std::launch::async, [&] { return words.wait("b", "rank 3", clk::now() + 30s, 30'000ms); });
  words.told("b", "2");
  CHECK(waits.get() == "2");
  const auto start = clk::now();
  CHECK_THROWS_WITH_AS(words.wait("c", "rank 3", start + 20ms, 20ms), "rank 3 has not come to the group within 20 ms",
                       lost);
  CHECK(milliseconds_since(start) >= 20);
}

TEST_CASE("an abort ends every wait, also those that begin later, and is handed on once") {
  rendezvous words([](const std::string&, const std::string&) {});
  std::vector<std::string> handed;
  words.on_abort([&](const std::string& why) { handed.push_back(why); });
  auto waits = std::async(std::launch::async, [&] { return words.wait("b", "rank 3", clk::now() + 30s, 30'000ms); });
  words.abort("host 2 is gone");
  words.abort("another reason");
  CHECK_THROWS_WITH_AS(waits.get(), "host 2 is gone", lost);
  CHECK_THROWS_WITH_AS(words.wait("b", "rank 3", clk::now() + 30s, 30'000ms), "host 2 is gone", lost);
  CHECK(handed == std::vector<std::string>{"host 2 is gone"});
  words.on_abort([&](const std::string& why) { handed.push_back("late: " + why); });
  CHECK(handed.back() == "late: host 2 is gone");
}

} // namespace rendezvous_test
