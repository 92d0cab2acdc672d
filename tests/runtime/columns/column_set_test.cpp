#include "runtime/columns/column_set.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/support/eventually.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace column_set_test {

using namespace millrace;
using namespace millrace::columns;

TEST_CASE("a packed column is cut into its answers, and lengths that do not add up are refused") {
  const std::vector<float> packed{1, 2, 3};
  const std::vector<std::int32_t> lengths{2, 0, 1}, short_one{2}, long_one{4}, negative{4, -1};
  const auto answers = columns::by_answer(std::span(packed), std::span(lengths));
  REQUIRE(answers.size() == 3);
  CHECK(answers[0].size() == 2);
  CHECK(answers[1].empty());
  CHECK(answers[2][0] == 3);
  CHECK_THROWS_WITH_AS(columns::by_answer(std::span(packed), std::span(short_one)),
                       "lengths add up to 2, the column has 3", std::invalid_argument);
  CHECK_THROWS_AS(columns::by_answer(std::span(packed), std::span(long_one)), std::invalid_argument);
  CHECK_THROWS_AS(columns::by_answer(std::span(packed), std::span(negative)), std::invalid_argument);
}

TEST_CASE("only wanted columns are pulled, and the first error is told once") {
  const auto data = tests::data_plane_of(1);
  const std::vector tickets{data->publish(tests::rollout_columns()), data->publish(tests::reward_columns())};
  tests::watched<std::vector<std::pair<columns::column_set, std::string>>> got;
  const auto pull = [&](const transport::wanted_columns& wanted) {
    const auto before = got.get().size();
    columns::pull_columns(*data, tickets, wanted, std::chrono::seconds(5),
                          [&](columns::column_set columns, std::string error) {
                            got.change([&](auto& all) { all.emplace_back(std::move(columns), std::move(error)); });
                          });
    REQUIRE(got.wait([&](const auto& all) { return all.size() == before + 1; }));
    return got.get().back();
  };
  const auto [one, error] = pull({.required = column::names(column::reward)});
  CHECK(error.empty());
  CHECK(one.has(column::reward));
  CHECK(!one.has(column::tokens));
  CHECK(!one.has("reward.number"));
  const auto both =
      pull({.required = column::names(column::tokens), .optional = column::names(column::reward, column::kept)});
  CHECK(both.second.empty());
  CHECK(both.first.parts().size() == 2);
  CHECK(both.first.view(column::tokens).size() == 4);
  CHECK(pull({.required = column::names(column::value)}).second == "column 'value' is not among the group's columns");
  CHECK(pull({.optional = column::names(column::value)}).second.empty());
  for (const auto& ticket : tickets)
    data->release(ticket.id);
  CHECK(!pull({.required = column::names(column::tokens, column::reward)}).second.empty());
  columns::pull_columns(*data, {}, {}, std::chrono::seconds(5), [&](columns::column_set, const std::string& nothing) {
    got.change([&](auto& all) { all.emplace_back(columns::column_set(), nothing); });
  });
  CHECK(got.get().back().second.empty());
}

} // namespace column_set_test
