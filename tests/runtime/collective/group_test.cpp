#include "runtime/collective/group.hpp"
#include "tests/runtime/collective/ranks.hpp"

namespace group_test {

using namespace millrace::collective;
using namespace millrace::collective::testing;

TEST_CASE("a gather has everybody's tensor in the order of ranks") {
  for (const int size : {1, 2, 3, 4}) {
    const auto groups = connected(size);
    std::vector<std::int64_t> lengths; // 0, 1, 2, 3 rows of 5
    for (int rank = 0; rank < size; ++rank)
      lengths.push_back(rank);
    for (const auto type : {at::kFloat, at::kLong, at::kByte}) {
      const auto thrown = on_ranks(size, [&](int rank) {
        const auto own = at::full({rank, 5}, rank * rank + 1, type);
        const auto got = gather(*groups[static_cast<std::size_t>(rank)], own, lengths);
        for (int r = 0; r < size; ++r)
          if (!at::equal(got.at(static_cast<std::size_t>(r)), at::full({r, 5}, r * r + 1, type)))
            throw std::runtime_error("rank " + std::to_string(r) + "'s rows are others");
      });
      CHECK(thrown == std::vector<std::string>(static_cast<std::size_t>(size)));
    }
  }
}

TEST_CASE("a gather of a tensor that is no rows in a row gathers its values") {
  const auto groups = connected(2);
  const auto grid = at::arange(6, at::kFloat).reshape({2, 3});
  const std::vector<std::int64_t> lengths{3, 3};
  CHECK(on_ranks(2,
                 [&](int rank) {
                   const auto got = gather(*groups[static_cast<std::size_t>(rank)], grid.t(), lengths);
                   if (!at::equal(got[static_cast<std::size_t>(1 - rank)], grid.t()))
                     throw std::runtime_error("other values");
                 })
        == std::vector<std::string>(2));
}

TEST_CASE("lengths that do not fit are refused") {
  const auto groups = connected(1);
  const std::vector<std::int64_t> two{1, 1}, four{4};
  CHECK_THROWS_WITH_AS(gather(*groups[0], at::zeros({1}), two), "gather: want 1 lengths, got 2", std::invalid_argument);
  CHECK_THROWS_WITH_AS(gather(*groups[0], at::zeros({3, 2}), four),
                       "gather: want an own tensor of 4 along dim 0, got [3, 2]", std::invalid_argument);
  CHECK_THROWS_AS(gather(*groups[0], at::Tensor(), four), std::invalid_argument);
}

} // namespace group_test
