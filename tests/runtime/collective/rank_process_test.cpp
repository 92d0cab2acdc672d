#include "tests/runtime/collective/rank_process.hpp"

namespace rank_process_test {

using namespace millrace::collective;
using namespace millrace::collective::testing;

namespace {

/// The lines that the parent says, one at a time. @returns nothing when it says no more
std::optional<std::string> next_line() {
  std::string line;
  for (char c = 0; ::read(rank_process::commands, &c, 1) == 1; line += c)
    if (c == '\n')
      return line;
  return {};
}

/// Sends every other rank 256 MiB of ones, and wants as much.
void exchange_much(group& ranks) {
  std::vector<at::Tensor> out(static_cast<std::size_t>(ranks.size()), at::ones({256 << 20}, at::kByte)), in;
  for (int rank = 0; rank < ranks.size(); ++rank)
    in.push_back(rank == ranks.rank() ? at::Tensor() : at::zeros({256 << 20}, at::kByte));
  ranks.exchange(out, in);
}

} // namespace

TEST_CASE("a rank of another process" * doctest::skip()) {
  gloo_options options;
  bool stops = false;
  const auto words = std::make_shared<rendezvous>([&](const std::string& key, const std::string& value) {
    const auto text = key + " " + value + "\n";
    CHECK(::write(rank_process::answers, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    if (stops)
      ::raise(SIGSTOP);
  });
  std::unique_ptr<group> ranks;
  std::thread connecting;
  const auto join = [&] {
    if (connecting.joinable())
      connecting.join();
  };
  while (const auto line = next_line()) {
    std::istringstream text(*line);
    std::string verb, key, value;
    text >> verb >> key >> value;
    if (verb == "be")
      options = options_of(std::stoi(key), std::stoi(value));
    else if (verb == "word")
      words->told(key, value);
    else if (verb == "stop-after-words")
      stops = true;
    else if (verb == "connect")
      connecting = std::thread([&] { ranks = connect_gloo(options, words); });
    else if (verb == "exchange")
      join(), exchange_one(*ranks);
    else if (verb == "exchange-much")
      join(), exchange_much(*ranks);
  }
  join();
}

} // namespace rank_process_test
