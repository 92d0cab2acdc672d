#include "runtime/collective/exchange.hpp"
#include "tests/runtime/collective/ranks.hpp"

#include <random>

namespace exchange_test {

using namespace millrace::collective;
using namespace millrace::collective::testing;
using namespace std::chrono_literals;

namespace {

/// Element i of what rank `from` sends to rank `to` in round `round`: small enough for a byte.
std::int64_t element(int from, int to, int round, std::int64_t i) {
  return (from * 7 + to * 31 + round * 13 + i) % 251;
}

at::Tensor filled(std::int64_t length, int from, int to, int round, at::ScalarType type) {
  return at::arange(length, at::kLong).add_(element(from, to, round, 0)).remainder_(251).to(type);
}

/// Lengths that every rank knows: as many as [from][to].
std::vector<std::vector<std::int64_t>> lengths_of(int size, int round) {
  const std::vector<std::int64_t> usual{0, 1, 2, 7, 1000, 65'537, 0, 262'144};
  std::mt19937 random(static_cast<unsigned>(size * 100 + round));
  std::vector<std::vector<std::int64_t>> lengths(static_cast<std::size_t>(size));
  for (auto& row : lengths)
    for (int to = 0; to < size; ++to)
      row.push_back(usual[random() % usual.size()]);
  return lengths;
}

void exchange_rounds(group& ranks, int rounds, at::ScalarType type) {
  for (int round = 0; round < rounds; ++round) {
    const auto lengths = lengths_of(ranks.size(), round);
    std::vector<at::Tensor> out, in;
    for (int peer = 0; peer < ranks.size(); ++peer) {
      const auto sent = lengths[static_cast<std::size_t>(ranks.rank())][static_cast<std::size_t>(peer)];
      const auto got = lengths[static_cast<std::size_t>(peer)][static_cast<std::size_t>(ranks.rank())];
      out.push_back(sent == 0 ? at::Tensor() : filled(sent, ranks.rank(), peer, round, type));
      in.push_back(at::zeros({got}, type));
    }
    ranks.exchange(out, in);
    for (int peer = 0; peer < ranks.size(); ++peer)
      if (const auto& got = in[static_cast<std::size_t>(peer)];
          peer != ranks.rank() && !at::equal(got, filled(got.numel(), peer, ranks.rank(), round, type)))
        throw std::runtime_error("round " + std::to_string(round) + ": rank " + std::to_string(peer)
                                 + " sent something else");
  }
}

} // namespace

TEST_CASE("what each rank sends each other one arrives, whatever its length and type, again and again") {
  CHECK(element(1, 2, 3, 4) == 7 + 62 + 39 + 4);
  for (const int size : {1, 2, 3, 4}) {
    const auto groups = connected(size);
    for (const auto type : {at::kFloat, at::kLong, at::kByte}) {
      const auto thrown =
          on_ranks(size, [&](int rank) { exchange_rounds(*groups[static_cast<std::size_t>(rank)], 4, type); });
      CHECK(thrown == std::vector<std::string>(static_cast<std::size_t>(size)));
    }
  }
}

TEST_CASE("64 MiB in both directions at once, while others have little to say") {
  constexpr std::int64_t large = 64 << 20;
  const auto groups = connected(3);
  const auto thrown = on_ranks(3, [&](int rank) {
    std::vector<at::Tensor> out(3), in(3);
    for (int peer = 0; peer < 3; ++peer) {
      const auto bytes = rank == 2 || peer == 2 ? 3 : large;
      out[static_cast<std::size_t>(peer)] = at::full({bytes}, 10 * rank + peer, at::kByte);
      in[static_cast<std::size_t>(peer)] = at::zeros({bytes}, at::kByte);
    }
    for (int twice = 0; twice < 2; ++twice) {
      groups[static_cast<std::size_t>(rank)]->exchange(out, in);
      for (int peer = 0; peer < 3; ++peer)
        if (const auto& got = in[static_cast<std::size_t>(peer)];
            peer != rank && !got.eq(10 * peer + rank).all().item<bool>())
          throw std::runtime_error("other bytes");
    }
  });
  CHECK(thrown == std::vector<std::string>(3));
}

TEST_CASE("two groups of the same process do not hear each other") {
  const auto one = connected(2), other = connected(2);
  std::vector<std::string> thrown_by_other;
  std::thread second([&] {
    thrown_by_other =
        on_ranks(2, [&](int rank) { exchange_rounds(*other[static_cast<std::size_t>(rank)], 8, at::kLong); });
  });
  const auto thrown =
      on_ranks(2, [&](int rank) { exchange_rounds(*one[static_cast<std::size_t>(rank)], 8, at::kFloat); });
  second.join();
  CHECK(thrown == std::vector<std::string>(2));
  CHECK(thrown_by_other == std::vector<std::string>(2));
}

TEST_CASE("ranks that disagree about a length both say so, and no byte of it travels") {
  const auto groups = connected(2);
  auto untouched = at::zeros({5}, at::kByte);
  const auto thrown = on_ranks(2, [&](int rank) {
    std::vector<at::Tensor> out(2), in(2);
    if (rank == 0)
      out[1] = at::ones({12}, at::kByte);
    else
      in[0] = untouched;
    groups[static_cast<std::size_t>(rank)]->exchange(out, in);
  });
  CHECK(thrown[0] == "rank 1 sends 0 bytes and expects 5, where rank 0 expects 0 and sends 12");
  CHECK(thrown[1] == "rank 0 sends 12 bytes and expects 0, where rank 1 expects 5 and sends 0");
  CHECK(at::equal(untouched, at::zeros({5}, at::kByte)));
}

TEST_CASE("tensors that cannot travel are refused before anything does") {
  const auto groups = connected(2);
  const std::vector<at::Tensor> none(2), three(3), crossed(2, at::zeros({4, 6}).t());
  CHECK_THROWS_WITH_AS(groups[0]->exchange(three, none), "outgoing: want 2 tensors, one a rank, got 3",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(groups[0]->exchange(none, crossed),
                       "incoming[1]: want a contiguous tensor on the CPU, got [6, 4] on cpu", std::invalid_argument);
  CHECK(on_ranks(2, [&](int rank) { exchange_one(*groups[static_cast<std::size_t>(rank)]); })
        == std::vector<std::string>(2));
}

TEST_CASE("who leaves after an exchange harms nobody") { // CO-1
  for (int again = 0; again < 20; ++again) {
    auto groups = connected(3);
    const auto thrown = on_ranks(3, [&](int rank) {
      exchange_one(*groups[static_cast<std::size_t>(rank)]);
      groups[static_cast<std::size_t>(rank)].reset();
    });
    CHECK(thrown == std::vector<std::string>(3));
  }
}

TEST_CASE("what 64 MiB each way cost") {
  constexpr std::int64_t large = 64 << 20, rounds = 5;
  const auto groups = connected(2);
  double milliseconds = 0;
  CHECK(on_ranks(2,
                 [&](int rank) {
                   const auto r = static_cast<std::size_t>(rank);
                   std::vector<at::Tensor> out(2), in(2);
                   out[1 - r] = at::ones({large}, at::kByte);
                   in[1 - r] = at::zeros({large}, at::kByte);
                   groups[r]->exchange(out, in);
                   const auto start = clk::now();
                   for (int round = 0; round < rounds; ++round)
                     groups[r]->exchange(out, in);
                   if (rank == 0)
                     milliseconds = milliseconds_since(start);
                 })
        == std::vector<std::string>(2));
  MESSAGE("64 MiB each way: " << milliseconds / rounds << " ms, " << rounds * large / milliseconds / 1000
                              << " MB/s each way");
  const auto start = clk::now();
  CHECK(on_ranks(2,
                 [&](int rank) {
                   for (int round = 0; round < 100; ++round)
                     exchange_one(*groups[static_cast<std::size_t>(rank)]);
                 })
        == std::vector<std::string>(2));
  MESSAGE("4 bytes each way: " << milliseconds_since(start) / 100 << " ms");
}

} // namespace exchange_test
