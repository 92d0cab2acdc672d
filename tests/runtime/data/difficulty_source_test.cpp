#include "runtime/data/difficulty_source.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

namespace difficulty_source_test {

using namespace millrace;
using namespace millrace::data;

namespace {

/// Rows 0 to 39; each tenth cannot be used.
class forty_rows {
public:
  forty_rows() {
    std::string rows;
    for (int i = 0; i < 40; ++i)
      rows += i % 10 == 0 ? "not json\n" : R"({"prompt": "q", "answer": ")" + std::to_string(i) + "\"}\n";
    tests::write_file(path(), rows);
  }

  std::filesystem::path path() const { return folder_ / "rows.jsonl"; }

  difficulty_source open(std::vector<std::string>* said = nullptr) const {
    return difficulty_source(usable_rows("rows", open_rows(path(), {}), {.seed = 5}, [said](const std::string& line) {
      if (said)
        said->push_back(line);
    }));
  }

private:
  tests::temporary_folder folder_;
};

} // namespace

TEST_CASE("rows that are half solved come most, rows that cannot be used are told once and never come") {
  const forty_rows file;
  std::vector<std::string> said;
  auto rows = file.open(&said);
  std::map<int, int> count;
  for (int i = 0; i < 3000; ++i) {
    const auto drawn = rows.next().value();
    const int answer = std::stoi(drawn.answer);
    CHECK(drawn.number == static_cast<std::uint64_t>(answer));
    CHECK(rows.at(drawn.number) == drawn);
    rows.measured(drawn.number, answer < 20 ? 0.5 : 1.0); // 18 usable rows each
    if (i >= 500)
      ++count[answer < 20 ? 0 : 1];
  }
  CHECK(said.size() == 4);
  CHECK(rows.skipped() == 4);
  CHECK(count[0] > 5 * count[1]); // ten rows rest at a time
  CHECK(count[1] > 0);
}

TEST_CASE("from its state a source goes on as it did") {
  const forty_rows file;
  auto rows = file.open();
  for (int i = 0; i < 60; ++i) {
    const auto drawn = rows.next().value();
    rows.measured(drawn.number, static_cast<double>(drawn.number % 3) / 2);
  }
  auto again = file.open();
  again.restore(rows.save());
  again.restore_state(rows.state());
  for (int i = 0; i < 60; ++i)
    CHECK(again.next().value().number == rows.next().value().number);
}

TEST_CASE("other files, and files without a row that can be used, are refused") {
  const forty_rows file;
  auto rows = file.open();
  CHECK_THROWS_WITH_AS(rows.restore({0, 0, 41}), "rows: found 40 rows, want the 41 of the saved position", input_error);
  CHECK_THROWS_WITH_AS(rows.at(10), "rows: row 11 cannot be read any more", input_error);
  CHECK_THROWS_WITH_AS(rows.at(40), "rows: row 41 cannot be read any more", input_error);
  tests::write_file(file.path(), "no\nno\n");
  auto bad = file.open();
  CHECK_THROWS_WITH_AS(bad.next(), doctest::Contains("rows: none of its 2 rows can be used, the first: "), input_error);
  auto again = file.open();
  again.restore_state(bad.state());
  CHECK_THROWS_WITH_AS(again.next(), "rows: none of its 2 rows can be used", input_error);
}

} // namespace difficulty_source_test
