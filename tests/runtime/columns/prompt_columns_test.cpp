#include "runtime/columns/column_builder.hpp"
#include "runtime/columns/prompt_columns.hpp"
#include "runtime/transport/data_plane.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace prompt_columns_test {

using namespace millrace;
using namespace millrace::columns;

namespace {

columns::prompt_content again(const columns::prompt_content& row) {
  return columns::content_of(columns::column_set(columns::columns_of(row)));
}

} // namespace

TEST_CASE("a row comes back as it was: plain, empty, beyond ASCII, of many turns") {
  columns::prompt_content row{
      .prompt = {{"user", "one"}}, .answer = "1", .data_source = "sums", .demonstrations = {}, .margin = 0};
  CHECK(again(row) == row);
  CHECK(again({}) == columns::prompt_content{});
  row.prompt = {{"system", ""}, {"user", "Grüße, 世界 \U0001F30D"}, {"", std::string("a\0b", 3)}};
  row.answer = "\u221a2";
  row.data_source.clear();
  CHECK(again(row) == row);
  row.prompt.clear();
  for (int i = 0; i < 1000; ++i)
    row.prompt.push_back({i % 2 ? "assistant" : "user", std::string(static_cast<std::size_t>(i), 'x')});
  CHECK(again(row) == row);
}

TEST_CASE("demonstrations come back turn by turn, with their margin; a row without any has no such columns") {
  columns::prompt_content row{
      .prompt = {{"user", "one"}},
      .answer = {},
      .data_source = {},
      .demonstrations = {{{"assistant", "a"}, {"user", ""}, {"assistant", "bb"}}, {{"assistant", "c"}}, {}},
      .margin = 0.1};
  CHECK(again(row) == row);
  row.demonstrations.clear();
  const auto plain = columns::columns_of(row);
  CHECK(!plain.has("demonstrations"));
  CHECK(!plain.has("margin"));
  CHECK(plain.columns().size() == 4);
}

TEST_CASE("columns that no source writes are refused") {
  const std::string text = "userone";
  const std::vector<std::int32_t> odd{4, 3, 0}, short_ones{4, 2}, turns{2}, lengths{4, 3};
  const auto prompt = [&](const std::vector<std::int32_t>& each) {
    return columns::column_set(
        columns::column_builder().add(column::prompt, text).add(column::prompt_lengths, each).finish());
  };
  CHECK_THROWS_AS(columns::prompt_in(prompt(odd)), std::invalid_argument);
  CHECK_THROWS_AS(columns::prompt_in(prompt(short_ones)), std::invalid_argument);
  CHECK_THROWS_AS(columns::answer_in(prompt(lengths)), std::out_of_range);
  const columns::column_set demonstrations(columns::column_builder()
                                               .add(column::demonstrations, text)
                                               .add(column::demonstration_lengths, lengths)
                                               .add(column::demonstration_turns, turns)
                                               .finish());
  CHECK_THROWS_AS(columns::demonstrations_in(demonstrations), std::invalid_argument);
}

} // namespace prompt_columns_test
