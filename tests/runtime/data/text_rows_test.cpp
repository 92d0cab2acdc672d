#include "runtime/data/text_rows.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

namespace text_rows_test {

using namespace millrace;
using data::text_rows;
using lines = std::vector<std::string>;

TEST_CASE("each step goes on where the one before ended, round and round") {
  const tests::temporary_folder folder;
  std::ofstream(folder / "t.jsonl") << "{\"text\": \"a\"}\n\n{\"text\": \"b\", \"more\": 1}\n{\"text\": \"c\"}";
  const text_rows rows(folder / "t.jsonl");
  CHECK(rows.size() == 3);
  CHECK(rows.of_step(0, 2) == lines{"a", "b"});
  CHECK(rows.of_step(1, 2) == lines{"c", "a"});
  CHECK(rows.of_step(0, 5) == lines{"a", "b", "c", "a", "b"});
}

TEST_CASE("a row without text is named") {
  const tests::temporary_folder folder;
  const auto why = [&](const std::string& content) -> std::string {
    std::ofstream(folder / "t.jsonl", std::ios::trunc) << content;
    try {
      text_rows rows(folder / "t.jsonl");
    } catch (const input_error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(why("{\"text\": \"a\"}\n{\"txt\": \"b\"}\n").find("t.jsonl:2: found no text") != std::string::npos);
  CHECK(why("nothing\n").find("t.jsonl:1: found no text") != std::string::npos);
  CHECK(why("{\"text\": \"\"}\n").find("t.jsonl:1: found no text") != std::string::npos);
  CHECK(why("\n").find("found no row") != std::string::npos);
  CHECK_THROWS_AS(text_rows(folder / "nothing.jsonl"), input_error);
}

} // namespace text_rows_test
