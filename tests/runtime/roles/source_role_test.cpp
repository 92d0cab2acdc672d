#include "runtime/columns/prompt_columns.hpp"
#include "runtime/roles/source_role.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace source_role_test {

using namespace millrace;
using namespace millrace::roles;

namespace {

source_role source_of(const pipeline::pipeline& p, std::optional<source_position> from = {}) {
  return source_role(p, *p.of<pipeline::source_table>().at(0), from);
}

/// Five rows of which the second and the fourth cannot be used, read in order, `epochs` times.
struct five_rows {
  tests::temporary_folder folder;
  pipeline::pipeline p;

  explicit five_rows(int epochs)
      : p((tests::write_file(folder / "rows.jsonl", R"({"prompt": "one", "answer": "1"}
{"prompt": "no answer"}
{"prompt": "three", "answer": "3"}
not json
{"prompt": "five", "answer": "5"}
)"),
           with_file(epochs))) {}

  pipeline::pipeline with_file(int epochs) const {
    auto made = tests::tiny_pipeline();
    for (auto& role : made.roles)
      if (auto* table = std::get_if<pipeline::source_table>(&role.options)) {
        table->generator.reset();
        table->file = folder / "rows.jsonl";
        table->shuffle = false;
        table->epochs = epochs;
      }
    return made;
  }
};

columns::prompt_content content(const source_prompt& taken) {
  return columns::content_of(columns::column_set(taken.columns));
}

std::string answer_of(const source_prompt& taken) {
  return content(taken).answer;
}

} // namespace

TEST_CASE("an unusable row takes no index and is counted and named once") { // SO-2
  five_rows data(1);
  auto source = source_of(data.p);
  const auto first = source.take(0);
  CHECK(answer_of(first) == "1");
  CHECK((content(first).prompt == std::vector<chat_turn>{{"user", "one"}}));
  CHECK(first.row.skipped_rows == 0);
  const auto second = source.take(1);
  CHECK(second.row.index == 1);
  CHECK(answer_of(second) == "3");
  CHECK(second.row.skipped_rows == 1);
  CHECK(second.row.skipped_first.find("rows.jsonl:2: ") != std::string::npos);
  const auto third = source.take(2);
  CHECK(answer_of(third) == "5");
  CHECK(third.row.skipped_rows == 1);
  CHECK(third.row.skipped_first.find("rows.jsonl:4: ") != std::string::npos);
}

TEST_CASE(
    "a row whose expected answer the rules behind the source cannot read is unusable, and named with the reason") {
  const tests::temporary_folder folder;
  tests::write_file(folder / "rows.jsonl", R"({"prompt": "one", "answer": "1"}
{"prompt": "two", "answer": "no number at all"}
{"prompt": "three", "answer": "3"}
)");
  auto p = tests::tiny_pipeline();
  for (auto& role : p.roles)
    if (auto* table = std::get_if<pipeline::source_table>(&role.options)) {
      table->generator.reset();
      table->file = folder / "rows.jsonl";
      table->shuffle = false;
    }
  auto source = source_of(p);
  CHECK(answer_of(source.take(0)) == "1");
  const auto next = source.take(1);
  CHECK(answer_of(next) == "3");
  CHECK(next.row.skipped_rows == 1);
  CHECK(next.row.skipped_first.find("rows.jsonl:2: number: ") != std::string::npos);
  CHECK(next.row.skipped_first.find("no number at all") != std::string::npos);
}

TEST_CASE("a row that no rule is for is left out before anything is generated, and named") {
  const tests::temporary_folder folder;
  tests::write_file(folder / "rows.jsonl", R"({"prompt": "one", "answer": "1", "data_source": "sums"}
{"prompt": "two", "answer": "a poem", "data_source": "poems"}
{"prompt": "three", "answer": "3", "data_source": "sums"}
)");
  auto p = tests::tiny_pipeline();
  for (auto& role : p.roles)
    if (auto* table = std::get_if<pipeline::source_table>(&role.options)) {
      table->generator.reset();
      table->file = folder / "rows.jsonl";
      table->shuffle = false;
    } else if (auto* rules = std::get_if<pipeline::rule_verifier_table>(&role.options)) {
      for (auto& rule : rules->rules)
        rule.when = pipeline::rule_condition{.data_source = {{"sums"}}};
    }
  auto source = source_of(p);
  CHECK(answer_of(source.take(0)) == "1");
  const auto next = source.take(1);
  CHECK(answer_of(next) == "3");
  CHECK(next.row.skipped_rows == 1);
  CHECK(next.row.skipped_first.ends_with("rows.jsonl:2: no rule is for its data_source \"poems\""));
}

TEST_CASE("data that ended stays ended and says how many prompts there were") {
  five_rows data(2);
  auto source = source_of(data.p);
  for (std::uint64_t index = 0; index < 6; ++index)
    CHECK(!source.take(index).row.exhausted);
  for (const std::uint64_t index : {6, 7, 6}) {
    const auto row = source.take(index).row;
    CHECK(row.exhausted);
    CHECK(row.index == 6);
  }
  CHECK(answer_of(source.take(5)) == "5");
}

TEST_CASE("an index asked for again gives the same prompt, and so do those behind it") { // SO-1
  auto source = source_of(tests::tiny_pipeline());
  std::vector<std::string> answers;
  for (std::uint64_t index = 0; index < 20; ++index)
    answers.push_back(answer_of(source.take(index)));
  for (const std::uint64_t index : {7, 8, 9, 0, 1, 2})
    CHECK(answer_of(source.take(index)) == answers[index]);
}

TEST_CASE("from the position of an index, the prompts go on as they did") { // SO-1
  const auto p = tests::tiny_pipeline();
  auto source = source_of(p);
  for (std::uint64_t index = 0; index < 10; ++index)
    source.take(index);
  const auto at = source.position_of(6);
  CHECK(at.index == 6);
  auto resumed = source_of(p, at);
  for (std::uint64_t index = 6; index < 12; ++index)
    CHECK(answer_of(resumed.take(index)) == answer_of(source.take(index)));
  CHECK(resumed.position_of(6).next == at.next);
}

TEST_CASE("an index that was never reached, or lies before a resume, is refused") {
  const auto p = tests::tiny_pipeline();
  auto source = source_of(p);
  source.take(0);
  CHECK_THROWS_AS(source.take(5), std::out_of_range);
  CHECK_THROWS_AS(source.position_of(2), std::out_of_range);
  CHECK_NOTHROW(source.position_of(1));
  auto resumed = source_of(p, source.position_of(1));
  CHECK_THROWS_AS(resumed.take(0), std::out_of_range);
}

} // namespace source_role_test
