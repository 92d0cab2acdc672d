#pragma once

#include "runtime/collective/gloo_group.hpp"

#include <ATen/ATen.h>
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <future>
#include <thread>

namespace millrace::collective::testing {

using clk = std::chrono::steady_clock;

inline double milliseconds_since(clk::time_point start) {
  return std::chrono::duration<double, std::milli>(clk::now() - start).count();
}

inline gloo_options options_of(int rank, int size) {
  gloo_options options{.rank = rank, .size = size};
  options.key.fill(std::byte{0x5a});
  options.connect_deadline = options.exchange_deadline = std::chrono::seconds(30);
  return options;
}

/// The rendezvous of the ranks that are threads of this process: what one says, all others are told, and an outsider.
class words_of_all {
public:
  using outsider = std::function<void(const std::string& key, const std::string& value)>;

  explicit words_of_all(int size, outsider told_too = {}) {
    for (int rank = 0; rank < size; ++rank)
      each_.push_back(
          std::make_shared<rendezvous>([this, rank, told_too](const std::string& key, const std::string& value) {
            for (int other = 0; other < static_cast<int>(each_.size()); ++other)
              if (other != rank)
                of(other)->told(key, value);
            if (told_too)
              told_too(key, value);
          }));
  }

  const std::vector<std::shared_ptr<rendezvous>>& all() const { return each_; }

  std::shared_ptr<rendezvous> of(int rank) const { return each_[static_cast<std::size_t>(rank)]; }

private:
  std::vector<std::shared_ptr<rendezvous>> each_;
};

/// Runs `work(rank)` on a thread for each rank. @returns what each threw, "" for nothing
template <class Work>
std::vector<std::string> on_ranks(int size, Work work) {
  std::vector<std::string> thrown(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      try {
        work(rank);
      } catch (const std::exception& error) {
        thrown[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  for (auto& thread : threads)
    thread.join();
  return thrown;
}

/// First and last of `count` ports of loopback, one after another, that nobody listens on.
inline std::array<std::uint16_t, 2> free_ports(int count) {
  static int next = 20'000 + ::getpid() % 1000 * 10;
  int first = next;
  for (int port = first; port < first + count; ++port) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    where.sin_port = htons(static_cast<std::uint16_t>(port));
    const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::bind(probe, reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0)
      first = port + 1;
    ::close(probe);
  }
  next = first + count;
  return {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(first + count - 1)};
}

/// A group of threads, connected. At index r: rank r's.
inline std::vector<std::unique_ptr<group>> connected(int size, std::chrono::milliseconds exchange_deadline = {}) {
  std::vector<std::unique_ptr<group>> groups(static_cast<std::size_t>(size));
  const words_of_all words(size);
  const auto thrown = on_ranks(size, [&](int rank) {
    auto options = options_of(rank, size);
    if (exchange_deadline.count() != 0)
      options.exchange_deadline = exchange_deadline;
    groups[static_cast<std::size_t>(rank)] = connect_gloo(options, words.of(rank));
  });
  REQUIRE(thrown == std::vector<std::string>(static_cast<std::size_t>(size)));
  return groups;
}

/// One exchange in which each rank sends each other rank one float.
inline void exchange_one(group& ranks) {
  const std::vector<std::int64_t> ones(static_cast<std::size_t>(ranks.size()), 1);
  const auto got = gather(ranks, at::full({1}, ranks.rank() + 0.5, at::kFloat), ones);
  for (int rank = 0; rank < ranks.size(); ++rank)
    if (got[static_cast<std::size_t>(rank)].item<float>() != static_cast<float>(rank) + 0.5F)
      throw std::runtime_error("rank " + std::to_string(rank) + "'s number is another one");
}

} // namespace millrace::collective::testing
