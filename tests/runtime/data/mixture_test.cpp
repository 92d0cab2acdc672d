#include "runtime/data/mixture.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace mixture_test {

using namespace millrace;
using namespace millrace::data;

namespace {

/// Files of rows whose answers name their file and line: a1, a2, ... and b1, b2, ...
class two_files {
public:
  two_files() {
    for (const char* name : {"a", "b"}) {
      std::string rows;
      for (int i = 1; i <= 10; ++i)
        rows += i == 4 ? "not json\n" : R"({"prompt": "q", "answer": ")" + (name + std::to_string(i)) + "\"}\n";
      tests::write_file(folder_ / (std::string(name) + ".jsonl"), rows);
    }
  }

  /// @param epochs of b; a is read once
  mixture mixed(double a, double b, std::uint64_t epochs, bool shuffle = false) const {
    std::vector<mixture_part> parts;
    parts.push_back({a, open_file(folder_ / "a.jsonl", {.shuffle = shuffle, .epochs = 1}, {})});
    parts.push_back({b, open_file(folder_ / "b.jsonl", {.shuffle = shuffle, .epochs = epochs}, {})});
    return mixture(std::move(parts));
  }

private:
  tests::temporary_folder folder_;
};

std::string taken(mixture& rows, std::size_t most = 1000) {
  std::string answers;
  for (std::size_t i = 0; i < most; ++i) {
    const auto found = rows.next();
    if (!found)
      return answers + '.';
    CHECK(found->what.answer[0] == "ab"[found->part]);
    answers += found->what.answer + ' ';
  }
  return answers;
}

} // namespace

TEST_CASE("sources take turns by their weights, and one that has ended leaves its turns to the other") {
  const two_files files;
  auto even = files.mixed(1, 1, 1);
  CHECK(taken(even) == "a1 b1 a2 b2 a3 b3 a5 b5 a6 b6 a7 b7 a8 b8 a9 b9 a10 b10 .");
  auto uneven = files.mixed(2, 1, 1);
  CHECK(taken(uneven) == "a1 b1 a2 a3 b2 a5 a6 b3 a7 a8 b5 a9 a10 b6 b7 b8 b9 b10 .");
  CHECK(taken(uneven) == ".");
}

TEST_CASE("from every place the rows go on as they did, also from behind the end of a source") {
  const two_files files;
  auto whole = files.mixed(3, 2, 3, true);
  std::vector<std::vector<mixture_place>> places{whole.save()};
  std::vector<std::string> answers;
  while (const auto found = whole.next()) {
    answers.push_back(found->what.answer);
    places.push_back(whole.save());
  }
  REQUIRE(answers.size() == 9 + 27);
  for (std::size_t at = 0; at < places.size(); ++at) {
    auto again = files.mixed(3, 2, 3, true);
    again.restore(places[at]);
    CHECK(again.save() == places[at]);
    for (std::size_t i = at; i < answers.size(); ++i)
      REQUIRE(again.next()->what.answer == answers[i]);
    CHECK(!again.next());
  }
}

TEST_CASE("a place of another number of sources is refused") {
  const two_files files;
  auto rows = files.mixed(1, 1, 1);
  auto places = rows.save();
  places.pop_back();
  CHECK_THROWS_WITH_AS(rows.restore(places), "found 2 sources of prompts, want the 1 of the saved position",
                       input_error);
}

} // namespace mixture_test
