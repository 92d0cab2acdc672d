#include "runtime/collective/parcel.hpp"
#include "tests/runtime/collective/ranks.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

namespace parcel_test {

using namespace millrace::collective;

namespace {

parcel of_rank(int rank) {
  return {.words = {rank, -7},
          .numbers = {0.1 * rank, -0.0},
          .tensors = {at::full({2, 3}, rank, at::kFloat), {}, at::arange(rank, at::kLong).gt(0)}};
}

bool same(const parcel& found, const parcel& wanted) {
  return found.words == wanted.words && found.numbers == wanted.numbers && std::signbit(found.numbers[1])
         && found.tensors.size() == 3 && at::equal(found.tensors[0], wanted.tensors[0]) && !found.tensors[1].defined()
         && found.tensors[2].scalar_type() == at::kBool && at::equal(found.tensors[2], wanted.tensors[2]);
}

} // namespace

TEST_CASE("parcel: what the first rank hands out comes back from every rank, bit for bit") {
  const auto groups = testing::connected(3);
  std::vector<parcel> back;
  const auto thrown = testing::on_ranks(3, [&](int rank) {
    auto& ranks = *groups[static_cast<std::size_t>(rank)];
    if (rank == 0) {
      hand_out(ranks, {of_rank(1), of_rank(2)});
      back = collect(ranks);
    } else {
      hand_in(ranks, take(ranks));
    }
  });
  CHECK(thrown == std::vector<std::string>(3));
  REQUIRE(back.size() == 2);
  CHECK(same(back[0], of_rank(1)));
  CHECK(same(back[1], of_rank(2)));
}

TEST_CASE("parcel: one for all comes to every rank but the first") {
  const auto groups = testing::connected(3);
  const auto thrown = testing::on_ranks(3, [&](int rank) {
    auto& ranks = *groups[static_cast<std::size_t>(rank)];
    if (rank == 0)
      hand_to_all(ranks, of_rank(5));
    else if (!same(take(ranks), of_rank(5)))
      throw std::runtime_error("it is another one");
  });
  CHECK(thrown == std::vector<std::string>(3));
}

TEST_CASE("parcel: one of nothing travels too") {
  const auto groups = testing::connected(2);
  const auto thrown = testing::on_ranks(2, [&](int rank) {
    auto& ranks = *groups[static_cast<std::size_t>(rank)];
    if (rank == 0) {
      hand_out(ranks, {parcel{}});
      return;
    }
    const auto given = take(ranks);
    if (!given.words.empty() || !given.numbers.empty() || !given.tensors.empty())
      throw std::runtime_error("something was in it");
  });
  CHECK(thrown == std::vector<std::string>(2));
}

TEST_CASE("parcel: handed around, every rank has that of every other one, each of its own length") {
  const auto groups = testing::connected(3);
  const auto thrown = testing::on_ranks(3, [&](int rank) {
    auto& ranks = *groups[static_cast<std::size_t>(rank)];
    std::vector<parcel> mine;
    for (int to = 0; to < 3; ++to)
      mine.push_back(of_rank(10 * rank + to));
    const auto found = hand_around(ranks, mine);
    for (int from = 0; from < 3; ++from)
      if (const auto& one = found.at(static_cast<std::size_t>(from));
          from == rank ? !one.words.empty() : !same(one, of_rank(10 * from + rank)))
        throw std::runtime_error("it is another one");
  });
  CHECK(thrown == std::vector<std::string>(3));
}

} // namespace parcel_test
