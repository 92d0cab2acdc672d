#include "runtime/collective/exchange_line.hpp"
#include "tests/runtime/collective/ranks.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

namespace exchange_line_test {

using namespace millrace::collective;

TEST_CASE("exchange line: exchanges come in the order in which they were asked for") {
  auto groups = testing::connected(2);
  std::vector<std::vector<std::int64_t>> found(2);
  const auto thrown = testing::on_ranks(2, [&](int rank) {
    exchange_line line(std::move(groups[static_cast<std::size_t>(rank)]));
    std::vector<std::pair<std::shared_future<void>, at::Tensor>> posted;
    for (int i = 0; i < 20; ++i) {
      std::vector<at::Tensor> outgoing(2), incoming(2);
      outgoing[static_cast<std::size_t>(1 - rank)] = at::full({1000 * (i + 1)}, 100 * rank + i, at::kLong);
      incoming[static_cast<std::size_t>(1 - rank)] = at::empty({1000 * (i + 1)}, at::kLong);
      posted.emplace_back(line.post(outgoing, incoming), incoming[static_cast<std::size_t>(1 - rank)]);
    }
    for (auto& [done, arrived] : posted) {
      done.get();
      found[static_cast<std::size_t>(rank)].push_back(arrived.max().item<std::int64_t>());
    }
  });
  for (const auto& what : thrown)
    CHECK(what == "");
  for (std::int64_t i = 0; i < 20; ++i) {
    CHECK(found[0].at(static_cast<std::size_t>(i)) == 100 + i);
    CHECK(found[1].at(static_cast<std::size_t>(i)) == i);
  }
}

TEST_CASE("exchange line: who leaves ends the exchange that the others wait for") {
  auto groups = testing::connected(2);
  const auto thrown = testing::on_ranks(2, [&](int rank) {
    exchange_line line(std::move(groups[static_cast<std::size_t>(rank)]));
    const std::vector<at::Tensor> outgoing(2);
    std::vector<at::Tensor> incoming(2);
    incoming[static_cast<std::size_t>(1 - rank)] = at::empty({1}, at::kLong);
    if (rank == 0)
      line.post(outgoing, incoming).get(); // rank 1 never calls
  });
  CHECK(thrown[0].find("rank 1") != std::string::npos);
  CHECK(thrown[1] == "");
}

} // namespace exchange_line_test
