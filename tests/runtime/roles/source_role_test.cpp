#include "runtime/columns/prompt_columns.hpp"
#include "runtime/roles/source_role.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
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
  CHECK(resumed.position_of(6) == at);
}

TEST_CASE("after a resume the prompts between live ones may be passed over: they were trained") { // SO-1
  five_rows data(0);
  auto source = source_of(data.p);
  std::vector<std::string> answers;
  for (std::uint64_t index = 0; index < 30; ++index)
    answers.push_back(answer_of(source.take(index)));
  auto resumed = source_of(data.p, source.position_of(4));
  for (const std::uint64_t index : {4, 7, 8, 20, 5, 21})
    CHECK(answer_of(resumed.take(index)) == answers[index]);
  five_rows once(1);
  auto ended = source_of(once.p, source_of(once.p).position_of(0));
  CHECK(answer_of(ended.take(2)) == "5");
  CHECK(ended.take(9).row.exhausted);
  CHECK(ended.take(9).row.index == 3);
}

namespace {

/// Three sources in shares of 50, 30 and 20 percent; the last one ends after two epochs.
struct three_sources {
  tests::temporary_folder folder;
  pipeline::pipeline p = tests::tiny_pipeline();

  three_sources() {
    for (const char* name : {"a", "b", "c"}) {
      std::string rows;
      for (int i = 0; i < 7; ++i)
        rows += R"({"prompt": ")" + (name + std::to_string(i)) + R"(", "answer": "1"})" + '\n';
      tests::write_file(folder / (std::string(name) + ".jsonl"), rows);
    }
    for (auto& role : p.roles)
      if (auto* table = std::get_if<pipeline::source_table>(&role.options)) {
        table->generator.reset();
        for (const auto& [name, weight, epochs] : {std::tuple{"a", 0.5, 0}, {"b", 0.3, 0}, {"c", 0.2, 2}}) {
          auto& entry = table->sources.emplace_back();
          entry.name = name;
          entry.weight = weight;
          entry.epochs = epochs;
          entry.file = folder / (std::string(name) + ".jsonl");
        }
      }
  }
};

std::string prompt_of(const source_prompt& taken) {
  return content(taken).prompt.at(0).content;
}

} // namespace

TEST_CASE("several sources give prompts in their shares, name themselves, and go on where any prompt was taken") {
  const three_sources data;
  auto source = source_of(data.p);
  std::vector<std::string> prompts;
  std::map<std::string, int> of_first_fifty;
  for (std::uint64_t index = 0; index < 150; ++index) {
    const auto taken = source.take(index);
    prompts.push_back(prompt_of(taken));
    CHECK(taken.row.source == prompts.back().substr(0, 1));
    if (index < 50)
      ++of_first_fifty[taken.row.source];
  }
  CHECK(of_first_fifty == std::map<std::string, int>{{"a", 25}, {"b", 15}, {"c", 10}});
  CHECK(std::count_if(prompts.begin(), prompts.end(), [](const auto& prompt) { return prompt[0] == 'c'; }) == 14);
  for (const std::uint64_t at : {0, 1, 33, 69, 70, 71, 72, 100, 149}) {
    auto resumed = source_of(data.p, source.position_of(at));
    for (std::uint64_t index = at; index < prompts.size(); ++index)
      REQUIRE(prompt_of(resumed.take(index)) == prompts[index]);
  }
}

TEST_CASE("with a sampler by difficulty results decide which rows come, and a resume goes on as if there were none") {
  three_sources data;
  for (auto& role : data.p.roles)
    if (auto* table = std::get_if<pipeline::source_table>(&role.options)) {
      table->sampler = "difficulty";
      for (auto& entry : table->sources)
        entry.epochs = 0;
    }
  // Row 0 of each file is never solved, row 1 always, the others every second time.
  const auto results = [](std::uint64_t from, const std::vector<std::string>& prompts) {
    prompts_measured measured;
    for (std::uint64_t i = from; i < from + 4; ++i)
      measured.prompts.push_back({i, prompts[i][1] == '0' ? 0 : prompts[i][1] == '1' ? 1 : 0.5});
    return measured;
  };
  auto source = source_of(data.p);
  std::vector<std::string> prompts;
  std::map<std::string, int> shares;
  std::map<char, int> rows;
  std::vector<source_position> positions;
  for (std::uint64_t index = 0; index < 1000; ++index) {
    if (index % 4 == 0)
      positions.push_back(source.position_of(index < 2 ? index : index - 2)); // two prompts are still under way
    const auto taken = source.take(index);
    prompts.push_back(prompt_of(taken));
    CHECK(taken.row.measured);
    CHECK(prompt_of(source.take_drawn(index, taken.row.drawn)) == prompts.back());
    ++shares[taken.row.source];
    ++rows[prompts.back()[1]];
    if (index % 4 == 3)
      source.measured(results(index - 3, prompts));
  }
  CHECK(shares == std::map<std::string, int>{{"a", 500}, {"b", 300}, {"c", 200}});
  for (const char other : {'2', '3', '4', '5', '6'}) // one of seven rows rests
    CHECK(rows[other] > 2 * std::max(rows['0'], rows['1']));
  CHECK(rows['0'] > 0);
  CHECK(rows['1'] > 0);
  CHECK(prompt_of(source.take(17)) == prompts[17]);
  for (const std::size_t step : {1, 7, 100}) {
    const std::uint64_t at = 4 * step;
    REQUIRE(positions[step].index == at - 2);
    auto resumed = source_of(data.p, positions[step]);
    for (std::uint64_t index = at - 2; index < at + 40; ++index) {
      REQUIRE(prompt_of(resumed.take(index)) == prompts[index]);
      if (index % 4 == 3 && index > at)
        resumed.measured(results(index - 3, prompts));
    }
  }
  CHECK_THROWS_AS(source.take(1002), std::out_of_range);
  CHECK_THROWS_AS(source_of(data.p, positions[100]).take(positions[100].index - 1), std::out_of_range);
  CHECK_THROWS_AS(source_of(data.p, source_of(tests::tiny_pipeline()).position_of(0)), input_error);
  auto other_data = positions[100];
  for (auto& at : other_data.sources)
    at.rows = 0;
  CHECK_NOTHROW(source_of(data.p, other_data).take(other_data.index)); // drawn anew
}

TEST_CASE("one source has no name") {
  CHECK(source_of(tests::tiny_pipeline()).take(0).row.source.empty());
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
