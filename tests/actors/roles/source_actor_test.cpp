#include "actors/roles/source_actor.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/support/deterministic_system.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace source_actor_test {

using namespace millrace;
using namespace millrace::actors;

namespace {

constexpr auto within = std::chrono::seconds(10);

/// The source's actor of a pipeline.
struct running_source {
  std::shared_ptr<transport::data_plane> data = tests::data_plane_of(1);
  tests::deterministic_system system;
  tests::asking test{system};
  handle<gives_prompts> source;

  explicit running_source(const pipeline::pipeline& p, std::optional<source_position> from = {})
      : source(system.start("source", source_actor(p, data, std::move(from)))) {}

  ~running_source() {
    end_actor(source);
    system.run();
  }

  prompt_row take(std::uint64_t index) {
    const auto asked = test.ask(source, take_prompt{index});
    REQUIRE(asked->answer);
    return *asked->answer;
  }

  /// What a published row says.
  columns::prompt_content content(const ticket& columns) {
    tests::watched<std::optional<columns::prompt_content>> row;
    data->pull(columns, within, [&](transport::pull_result pulled) {
      row.change([&](auto& what) { what = columns::content_of(columns::column_set(pulled.value)); });
    });
    REQUIRE(row.wait([](const auto& what) { return what.has_value(); }));
    return *row.get();
  }
};

/// The tiny pipeline over a file of rows, read once.
pipeline::pipeline pipeline_over(const std::filesystem::path& file) {
  auto p = tests::tiny_pipeline();
  for (auto& role : p.roles)
    if (auto* source = std::get_if<pipeline::source_table>(&role.options)) {
      source->generator.reset();
      source->file = file;
      source->epochs = 1;
    }
  return p;
}

} // namespace

TEST_CASE("the source's actor answers what its state refuses with the line") {
  running_source running(tests::tiny_pipeline());
  const auto refused = running.test.ask(running.source, take_prompt{3});
  REQUIRE(refused->refused);
  CHECK(refused->refused->line.find("prompt 3 is not among those from 0 to 0") != std::string::npos);
  CHECK(refused->refused->by_the_asked);
  CHECK(!running.content(running.take(0).columns).answer.empty());
}

TEST_CASE("each prompt is published in the source's own process, and a source goes on from the place of each") { // SO-1
  running_source running(tests::tiny_pipeline());
  const auto first = running.take(0), second = running.take(1);
  CHECK(first.columns.owner == 1);
  CHECK(first.columns.id != second.columns.id);
  CHECK(running.data->stats().live_tickets == 2);
  const auto content = running.content(first.columns);
  REQUIRE(content.prompt.size() == 1);
  CHECK(content.prompt[0].role == "user");
  CHECK(!content.prompt[0].content.empty());
  const auto position = running.test.ask(running.source, find_position{1});
  REQUIRE(position->answer);
  CHECK(position->answer->index == 1);
  running_source resumed(tests::tiny_pipeline(), *position->answer);
  CHECK((resumed.content(resumed.take(1).columns) == running.content(second.columns)));
  const auto refused = running.test.ask(running.source, find_position{99});
  REQUIRE(refused->refused);
}

TEST_CASE("data that ends is answered without columns, and data that is not there is refused at the start") {
  const tests::temporary_folder folder;
  tests::write_file(folder / "rows.jsonl", "{\"prompt\": \"1 + 1?\", \"answer\": \"2\"}\n");
  running_source running(pipeline_over(folder / "rows.jsonl"));
  CHECK(running.content(running.take(0).columns).answer == "2");
  const auto end = running.take(1);
  CHECK(end.exhausted);
  CHECK(end.columns.id == 0);
  CHECK(running.data->stats().live_tickets == 1);
  CHECK_THROWS_AS(source_actor(pipeline_over(folder / "none.jsonl"), running.data, {}), input_error);
}

} // namespace source_actor_test
