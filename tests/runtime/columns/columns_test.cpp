#include "runtime/columns/answer_columns.hpp"
#include "runtime/columns/column_builder.hpp"
#include "runtime/columns/prompt_columns.hpp"
#include "tests/runtime/roles/fixture.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

namespace columns_test {

using namespace millrace;

namespace {

bool lists(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Every column of the bundle is declared by the role and has the type that the table says.
void check_declared(const transport::bundle& columns, const pipeline::role& role) {
  for (const auto& column : columns.columns()) {
    CAPTURE(column.spec.name);
    CHECK(lists(role.adds, column.spec.name));
    const auto* row = find_column(column.spec.name);
    REQUIRE(row != nullptr);
    CHECK(row->type == column.spec.type);
  }
  for (const auto& name : role.adds)
    if (find_column(name)->presence == column_presence::always) {
      CAPTURE(name);
      CHECK(columns.has(name));
    }
}

} // namespace

TEST_CASE("the table names each column once and says what it is") {
  std::set<std::string_view> names;
  for (const auto& row : column_table) {
    CAPTURE(row.name);
    CHECK(names.insert(row.name).second);
    CHECK(!row.added_by.empty());
    CHECK(!row.meaning.empty());
  }
  CHECK(find_column("reward.number")->name == "reward.<name>");
  CHECK(find_column("reward")->name == "reward");
  CHECK(find_column("origin.reward.judge")->type == dtype::u32);
  CHECK(find_column("baseline") == nullptr);
  static_assert(std::is_same_v<decltype(column::tokens)::element, std::int32_t>);
  CHECK(column::reward_of("x").name == "reward.x");
  CHECK(column::prefix_of("tokens") == "tokens");
}

TEST_CASE("what a source and a rollout publish is what their kinds declare") {
  const auto p = tests::tiny_pipeline({"roles.rollout.greedy_baseline=true", "roles.learner.algorithm=remax"});
  check_declared(columns::columns_of(columns::prompt_content{.prompt = {{"user", "x"}},
                                                             .answer = "1",
                                                             .data_source = {},
                                                             .demonstrations = {{{"assistant", "1"}}},
                                                             .margin = 1}),
                 p.at("prompts"));
  rollout::finished_group group;
  group.answers.resize(2);
  group.answers[0].tokens = {1, 2};
  group.answers[0].logprob = {0, 0};
  group.answers[0].version = {0, 0};
  group.answers[0].recomputed = {1};
  group.kept = {0, 3};
  check_declared(columns::columns_of({1}, group, 1), p.at("rollout"));
  CHECK(lists(p.policy().reads, "greedy"));
  CHECK(p.policy().reads_if_added == column::names(column::recomputed, column::kept, column::finish));
}

TEST_CASE("every column that a kind of role reads or adds stands in the table") {
  const auto check_all = [](const std::vector<std::string>& names) {
    for (const auto& name : names) {
      CAPTURE(name);
      CHECK(find_column(name) != nullptr);
    }
  };
  const auto& words = pipeline::built_in_vocabulary();
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    const auto check = [&](const auto& table) {
      check_all(table.reads(words));
      check_all(table.adds());
    };
    (check(std::variant_alternative_t<I, pipeline::role_options>{}), ...);
  }
  (std::make_index_sequence<std::variant_size_v<pipeline::role_options>>{});
  for (const auto& algorithm : words.algorithms)
    check_all(algorithm.reads);
}

} // namespace columns_test
