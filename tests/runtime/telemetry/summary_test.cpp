#include "runtime/telemetry/summary.hpp"
#include "runtime/telemetry/text_curve.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <sstream>

namespace summary_test {

using namespace millrace;
using namespace millrace::telemetry;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);)
    lines.push_back(line);
  return lines;
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size()))
    ++found;
  return found;
}

run_summary summary_of_a_run() {
  run_summary summary;
  summary.name = "arithmetic";
  summary.step = summary.steps = 60;
  summary.elapsed_s = 465;
  for (int step = 0; step < 60; ++step)
    summary.rewards.push_back(1.1 / (1 + std::exp(-(step - 25) / 6.0)) + 0.05 * std::sin(step));
  summary.ledger = {123'456, 120'000, 1'456, {{"stale", 1'500}, {"cancelled", 500}}};
  summary.times = {{"learner", 1, 465, {{"compute", 0.6}, {"wait_input", 0.3}, {"idle", 0.1}}},
                   {"rollout", 2, 930, {{"compute", 0.9}, {"wait_version", 0.05}, {"idle", 0.05}}}};
  summary.logprob_gap = 2.1e-5;
  summary.folder = "runs/arithmetic-2026-11-22-1";
  summary.last_checkpoint = summary.folder / "checkpoints/step-000060";
  summary.trained_model = summary.last_checkpoint / "model";
  summary.example_prompt = "What is 47 plus 12?";
  return summary;
}

} // namespace

TEST_CASE("a straight line is a staircase") {
  const std::vector<double> values{1, 2, 3, 4, 5, 6, 7, 8};
  CHECK(text_curve(values, 8, 4)
        == "      8 ┤      ▄█\n"
           "        │    ▄███\n"
           "      4 ┤  ▄█████\n"
           "        │▄███████\n"
           "      0 ┼────────\n"
           "         1      8\n");
}

TEST_CASE("few steps are wide, many are averaged, and the line of numbers ends below the last column") {
  const auto few = lines_of(text_curve(std::vector<double>{1, 2}, 60, 2));
  CHECK(count(few[2], "─") == 60);
  CHECK(few[3].size() == 9 + 60);
  std::vector<double> many(1000);
  for (std::size_t i = 0; i < many.size(); ++i)
    many[i] = i % 2 == 0 ? 0 : 2; // mean 1 in every column
  const auto lines = lines_of(text_curve(many, 50, 4));
  CHECK(count(lines[4], "─") == 50);
  CHECK(lines[5].ends_with("1000"));
  CHECK(count(lines[0], "█") == count(lines[3], "█"));
}

TEST_CASE("a value that is missing is a gap; the lowest is not") {
  const std::vector<double> values{0, std::nan(""), 1, std::numeric_limits<double>::infinity(), 1};
  const auto lines = lines_of(text_curve(values, 5, 2));
  CHECK(lines[1] == "        │▁ █ █");
}

TEST_CASE("curves of nothing, of one value, of equal, negative and huge values") {
  CHECK(text_curve({}).empty());
  CHECK(text_curve(std::vector<double>{std::nan("")}).empty());
  CHECK(text_curve(std::vector<double>{0}, 4, 2) == "      1 ┤\n        │▁▁▁▁\n      0 ┼────\n         1\n");
  CHECK(count(text_curve(std::vector<double>{3, 3}, 2, 2), "█") >= 2);
  const auto below = text_curve(std::vector<double>{-4, -2}, 2, 2);
  CHECK(below.find("     -2 ┤") != std::string::npos);
  CHECK(below.find("     -4 ┼") != std::string::npos);
  for (const double scale : {1e-9, 1e9, 1e300}) {
    const auto lines = lines_of(text_curve(std::vector<double>{0, scale}, 2, 4));
    REQUIRE(lines.size() == 6);
    CHECK(count(lines[3], "█") == 1);
  }
}

TEST_CASE("a high, narrow curve does not start at 0") {
  const auto text = text_curve(std::vector<double>{0.90, 0.92, 0.95}, 3, 4);
  CHECK(text.find("    0.9 ┼") != std::string::npos);
}

TEST_CASE("the summary tells rewards, tokens by fate, time, the log-probability gap, files and what to try next") {
  const auto text = in_words(summary_of_a_run());
  for (const char* part :
       {"arithmetic: finished, 60 of 60 steps in 7:45\n", "mean reward by step\n", "first 5 steps 0.0",
        "tokens  123,456 generated = 120,000 trained + 2,000 dropped (stale 1,500, cancelled 500) + 1,456 live\n",
        "learner         compute 60.0 %  wait_input 30.0 %  idle 10.0 %\n",
        "rollout (2)     compute 90.0 %  wait_version 5.0 %  idle 5.0 %\n", "differ by at most 2.1e-05\n",
        "files in runs/arithmetic-2026-11-22-1\n", "checkpoints/step-000060",
        "millrace generate runs/arithmetic-2026-11-22-1/checkpoints/step-000060/model --prompt \"What is 47 plus"})
    CHECK_MESSAGE(text.find(part) != std::string::npos, part);
  CHECK(text.find("resume") == std::string::npos);
  CHECK(text.find("does not close") == std::string::npos);
}

TEST_CASE("a run that was stopped says how to go on; a ledger that does not close is called out") {
  auto summary = summary_of_a_run();
  summary.outcome = "stopped";
  summary.step = 40;
  summary.ledger.live += 1;
  summary.skipped = {{"prompt longer than the context", 2}};
  summary.logprob_gap = std::nan("");
  const auto text = in_words(summary);
  CHECK(text.find("stopped, 40 of 60 steps") != std::string::npos);
  CHECK(text.find("  millrace resume runs/arithmetic-2026-11-22-1\n") != std::string::npos);
  CHECK(text.find("the ledger does not close") != std::string::npos);
  CHECK(text.find("rows left out: prompt longer than the context 2\n") != std::string::npos);
  CHECK(text.find("differ by at most") == std::string::npos);
}

TEST_CASE("a run that ended before its first step still has a summary") {
  run_summary summary;
  summary.name = std::string{"a"};
  summary.outcome = "failed";
  summary.steps = 60;
  summary.folder = "runs/a";
  const auto text = in_words(summary);
  CHECK(text.find("a: failed, 0 of 60 steps") == 0);
  CHECK(text.find("tokens  0 generated = 0 trained + 0 dropped + 0 live\n") != std::string::npos);
  CHECK(text.find("resume") == std::string::npos);
}

} // namespace summary_test
