#include "runtime/formats/text_lines.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

namespace text_lines_test {

using namespace millrace;
using formats::text_lines;

namespace {

std::vector<std::string> lines_of(std::string_view text) {
  const tests::temporary_folder folder;
  tests::write_file(folder / "a.txt", text);
  text_lines lines(folder / "a.txt", "text");
  std::vector<std::string> out;
  for (std::string line; lines.next(line);) {
    out.push_back(line + (lines.torn() ? "<" : ""));
    CHECK(lines.number() == std::ssize(out));
    CHECK(lines.where() == (folder / "a.txt").string() + ':' + std::to_string(out.size()));
  }
  return out;
}

} // namespace

TEST_CASE("a file's lines are what stands between its newlines, and a last one without is torn") {
  using texts = std::vector<std::string>;
  CHECK(lines_of("") == texts{});
  CHECK(lines_of("\n") == texts{""});
  CHECK(lines_of("a\n\nbc\r\n") == texts{"a", "", "bc\r"});
  CHECK(lines_of("a\nb") == texts{"a", "b<"});
  const std::string block(1 << 16, 'x'); // as much as is read at once
  CHECK(lines_of(block + "\ny") == texts{block, "y<"});
  CHECK(lines_of(block.substr(1) + "\n" + block + block + "\n") == texts{block.substr(1), block + block});
}

TEST_CASE("a line that never ends does not fill the memory") {
  text_lines zeros("/dev/zero", "text");
  std::string line;
  CHECK_THROWS_WITH_AS(zeros.next(line), "/dev/zero:1: found a line of more than 16 MiB, want shorter ones",
                       input_error);
  CHECK(line.size() < text_lines::most_bytes + (1 << 17));
}

TEST_CASE("behind a line that is too long reading goes on with the next, and counts on") {
  const tests::temporary_folder folder;
  const std::string endless(text_lines::most_bytes + 5, 'x');
  tests::write_file(folder / "a.txt", "a\n" + endless + "\nb\n" + endless + endless);
  text_lines lines(folder / "a.txt", "text");
  std::string line;
  CHECK(lines.next(line));
  CHECK_THROWS_AS(lines.next(line), input_error);
  REQUIRE(lines.next(line));
  CHECK(line == "b");
  CHECK(lines.number() == 3);
  CHECK_THROWS_AS(lines.next(line), input_error);
  CHECK(lines.number() == 4);
  CHECK_FALSE(lines.next(line));
}

TEST_CASE("what is no file is refused by name") {
  CHECK_THROWS_WITH_AS(text_lines("nowhere.txt", "a list"), "nowhere.txt: cannot be opened, want a list", input_error);
  CHECK_THROWS_WITH_AS(text_lines("tests", "a list"), "tests: cannot be opened, want a list", input_error);
}

} // namespace text_lines_test
