#include "runtime/watch/page.hpp"
#include "runtime/watch/sections.hpp"
#include "tests/runtime/watch/watched_example.hpp"

#include <doctest/doctest.h>

#include <map>

namespace sections_test {

using namespace millrace;
using namespace millrace::watch;
using namespace millrace::tests;

namespace {

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++found;
  return found;
}

} // namespace

TEST_CASE("the page draws every chart, and what a model wrote is text in it") {
  const temporary_folder folder;
  write_watched_run(folder.path());
  run_reader reader([&] { return folder.path(); });
  reader.poll();
  sections parts;
  parts.update(reader.view());
  const auto html = page(parts.all(), "n0nce");
  CAPTURE(html);
  for (const auto* title : {"Reward", "Loss", "Entropy", "KL", "Length of answers", "Staleness", "Time of a step",
                            "Reward by rule", "Staleness at use"})
    CHECK(html.find("<figcaption>" + std::string(title) + "</figcaption>") != std::string::npos);
  CHECK(count(html, "<svg") == 9);
  CHECK(count(html, "<script") == 1);                // its own
  CHECK(count(html, "<img") == 1);                   // the graph
  CHECK(count(html, "&lt;script&gt;alert(1)") >= 5); // state, wait, log, prompt, answer
  CHECK(count(html, "class=\"answer\"") == 4);
  CHECK(html.find("The ledger does not close") == std::string::npos);
}

TEST_CASE("the graph tells states, rates, queues and waits; a pipeline that cannot be read has none") {
  const temporary_folder folder;
  write_watched_run(folder.path());
  run_reader reader([&] { return folder.path(); });
  reader.poll();
  const auto svg = graph_in_svg(reader.view());
  CAPTURE(svg);
  for (const auto* words : {"&lt;script&gt;alert(1)", "321 tokens/s", "3 queued", "1 ready", "waits for &lt;script"})
    CHECK(svg.find(words) != std::string::npos);
  CHECK(svg.find("<script") == std::string::npos);
  write_file(folder / "resolved.toml", "[run]\nname = \"changed\"\n");
  reader.poll();
  CHECK(graph_in_svg(reader.view()) == "");
}

TEST_CASE("an event brings a part in one line of data") {
  const auto event = event_of({.id = "groups", .title = "", .tools = "", .html = "a\nb\r\n<b>\xff"});
  CHECK(event == "event: section\ndata: {\"html\":\"a\\nb\\r\\n<b>\xef\xbf\xbd\",\"id\":\"groups\"}\n\n");
}

TEST_CASE("a part has a new version only when it says something else") {
  const temporary_folder folder;
  write_watched_run(folder.path());
  run_reader reader([&] { return folder.path(); });
  sections parts;
  const auto versions = [&] {
    reader.poll();
    parts.update(reader.view());
    std::map<std::string, std::uint64_t> all;
    for (const auto& part : parts.all())
      all[part.id] = part.version;
    return all;
  };
  const auto first = versions();
  CHECK(versions() == first);
  append_step(folder.path(), 3);
  auto second = versions();
  CHECK(second.at("curves") == first.at("curves") + 1);
  second["curves"] = first.at("curves");
  CHECK(second == first);
}

} // namespace sections_test
