#include "actors/source.hpp"

#include "runtime/input_error.hpp"
#include "tests/actors/fixture.hpp"
#include "tests/support/deterministic_system.hpp"
#include "tests/support/temporary_folder.hpp"

#include <caf/scoped_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

using namespace millrace;
using namespace millrace::actors;

namespace {

source_state open(const pipeline::pipeline& p, std::optional<source_position> from = {}) {
  return source_state(p, *p.of<pipeline::source_table>().at(0), from);
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

} // namespace

TEST_CASE("an unusable row takes no index and is counted and named once") { // SO-2
  five_rows data(1);
  auto source = open(data.p);
  const auto first = source.take(0);
  CHECK(first.answer == "1");
  REQUIRE(first.prompt.size() == 1);
  CHECK(first.prompt[0].role == "user");
  CHECK(first.prompt[0].content == "one");
  CHECK(first.skipped_rows == 0);
  const auto second = source.take(1);
  CHECK(second.index == 1);
  CHECK(second.answer == "3");
  CHECK(second.skipped_rows == 1);
  CHECK(second.skipped_first.find("rows.jsonl:2: ") != std::string::npos);
  const auto third = source.take(2);
  CHECK(third.answer == "5");
  CHECK(third.skipped_rows == 1);
  CHECK(third.skipped_first.find("rows.jsonl:4: ") != std::string::npos);
}

TEST_CASE("data that ended stays ended and says how many prompts there were") {
  five_rows data(2);
  auto source = open(data.p);
  for (std::uint64_t index = 0; index < 6; ++index)
    CHECK(!source.take(index).exhausted);
  for (const std::uint64_t index : {6, 7, 6}) {
    const auto row = source.take(index);
    CHECK(row.exhausted);
    CHECK(row.index == 6);
  }
  CHECK(source.take(5).answer == "5");
}

TEST_CASE("an index asked for again gives the same prompt, and so do those behind it") { // SO-1
  auto source = open(tests::tiny_pipeline());
  std::vector<std::string> answers;
  for (std::uint64_t index = 0; index < 20; ++index)
    answers.push_back(source.take(index).answer);
  for (const std::uint64_t index : {7, 8, 9, 0, 1, 2})
    CHECK(source.take(index).answer == answers[index]);
}

TEST_CASE("from the position of an index, the prompts go on as they did") { // SO-1
  const auto p = tests::tiny_pipeline();
  auto source = open(p);
  for (std::uint64_t index = 0; index < 10; ++index)
    source.take(index);
  const auto at = source.position_of(6);
  CHECK(at.index == 6);
  auto resumed = open(p, at);
  for (std::uint64_t index = 6; index < 12; ++index)
    CHECK(resumed.take(index).answer == source.take(index).answer);
  CHECK(resumed.position_of(6).next == at.next);
}

TEST_CASE("an index that was never reached, or lies before a resume, is refused") {
  const auto p = tests::tiny_pipeline();
  auto source = open(p);
  source.take(0);
  CHECK_THROWS_AS(source.take(5), std::out_of_range);
  CHECK_THROWS_AS(source.position_of(2), std::out_of_range);
  CHECK_NOTHROW(source.position_of(1));
  auto resumed = open(p, source.position_of(1));
  CHECK_THROWS_AS(resumed.take(0), std::out_of_range);
}

TEST_CASE("the source's actor answers what its state refuses with the line") {
  tests::deterministic_system actors;
  const auto source = actors.system.spawn(make_source, open(tests::tiny_pipeline()));
  caf::scoped_actor self(actors.system);
  auto refused = self->request(source, caf::infinite, take_prompt{3});
  auto taken = self->request(source, caf::infinite, take_prompt{0});
  actors.run();
  std::string line;
  refused.receive([&](const prompt_row&) {}, [&](const caf::error& error) { line = caf::to_string(error.context()); });
  CHECK(line.find("prompt 3 is not among those from 0 to 0") != std::string::npos);
  bool came = false;
  taken.receive([&](const prompt_row& row) { came = !row.answer.empty(); }, [](const caf::error&) {});
  CHECK(came);
}
