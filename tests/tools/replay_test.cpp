#include "tests/tools/tiny_run.hpp"

#include "runtime/telemetry/step_lines.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace millrace;
using namespace millrace::tests;

namespace {

void change(const std::filesystem::path& file, const std::string& what, const std::string& into) {
  std::string text = read_file(file);
  const auto at = text.rfind(what);
  REQUIRE(at != std::string::npos);
  write_file(file, text.replace(at, what.size(), into));
}

} // namespace

TEST_CASE("an asynchronous run of several processes is made again bit for bit") {
  const tiny_run run({.steps = 8, .preset = "bounded", .reference = true, .max_new_tokens = 48});
  const auto first = run_to_end(run.start(placed_apart(true)));
  CAPTURE(first.err);
  REQUIRE(first.status == 0);
  const auto folder = run.files().folder();
  const auto last = nlohmann::json::parse(telemetry::read_step_lines(folder / "replay.jsonl").back());
  CHECK(last.at("groups").at(0).at("answers").at(0).at(0) < last.at("version")); // it was trained by a later version

  const auto again = run_to_end(command_line({"replay", folder.string()}));
  CAPTURE(again.err);
  CHECK(again.status == 0);
  CHECK(again.err.find("8 steps, every one the same bit for bit") != std::string::npos);

  SUBCASE("a group that was another is named") {
    const auto line = telemetry::read_step_lines(folder / "replay.jsonl").at(2);
    const auto group = nlohmann::json::parse(line).at("groups").at(1);
    change(folder / "replay.jsonl", group.at("checksum"), "0123456789abcdef");
    const auto other = run_to_end(command_line({"replay", folder.string()}));
    CHECK(other.status == 1);
    CHECK(other.err.find("the first difference is in step 3: group " + group.at("group").dump() + ":") != std::string::npos);
  }
  SUBCASE("a loss that was another is named, to the last digit") {
    const auto loss = run.files().metrics().at(3).at("actor/pg_loss");
    const nlohmann::ordered_json next = std::nextafter(loss.get<double>(), 1e9);
    change(folder / "metrics.jsonl", "\"actor/pg_loss\":" + loss.dump(), "\"actor/pg_loss\":" + next.dump());
    const auto other = run_to_end(command_line({"replay", folder.string()}));
    CAPTURE(other.err);
    CHECK(other.status == 1);
    CHECK(other.err.find("the first difference is in step 4: actor/pg_loss was") != std::string::npos);
  }
}

TEST_CASE("of answers that were begun those that were kept are made again") {
  const tiny_run run({.steps = 6, .preset = "bounded", .max_new_tokens = 48});
  auto how = placed_apart(false);
  how.insert(how.end(), {"--set", "schedule.tail.oversample_attempts=1.5", "--set", "roles.rollout.slots=5"});
  const auto first = run_to_end(run.start(how));
  CAPTURE(first.err);
  REQUIRE(first.status == 0);
  const auto folder = run.files().folder();
  bool left_out = false;
  for (const auto& line : telemetry::read_step_lines(folder / "replay.jsonl"))
    for (const auto& group : nlohmann::json::parse(line).at("groups")) {
      REQUIRE(group.at("answers").size() == 4);
      REQUIRE(group.at("kept").size() == 4);
      left_out = left_out || group.at("kept") != nlohmann::json{0, 1, 2, 3};
    }
  CHECK(left_out);
  const auto again = run_to_end(command_line({"replay", folder.string()}));
  CAPTURE(again.err);
  CHECK(again.status == 0);
  CHECK(again.err.find("6 steps, every one the same bit for bit") != std::string::npos);
}

TEST_CASE("masked answers are made again as they were trained") {
  const tiny_run run({.steps = 4});
  REQUIRE(run_to_end(run.start({"--set", "roles.learner.mask_truncated=true"})).status == 0);
  const auto again = run_to_end(command_line({"replay", run.files().folder().string()}));
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

TEST_CASE("what cannot be made again is refused in a line") {
  const tiny_run run({.steps = 1, .critic = true});
  REQUIRE(run_to_end(run.start()).status == 0);
  const auto again = run_to_end(command_line({"replay", run.files().folder().string()}));
  CHECK(again.status == 1);
  CHECK(again.err.find("replay cannot make a critic again") != std::string::npos);
}
