// Scores a second of `{ type = "python" }` with a trivial function, and the milliseconds that it adds to an answer:
// bench_rewards [WORKERS=2] [ANSWERS=20000]. Prints one JSON line.
#include "runtime/rules/rule.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace millrace;
using clock_type = std::chrono::steady_clock;

double seconds_since(clock_type::time_point start) {
  return std::chrono::duration<double>(clock_type::now() - start).count();
}

} // namespace

int main(int count, char** words) {
  const auto workers = static_cast<std::size_t>(count > 1 ? std::atoll(words[1]) : 2);
  const auto answers = static_cast<std::size_t>(count > 2 ? std::atoll(words[2]) : 20000);
  auto folder = (std::filesystem::temp_directory_path() / "millrace-bench-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr)
    return 1;
  const auto file = std::filesystem::path(folder) / "reward.py";
  std::ofstream(file) << "def compute_score(data_source, solution_str, ground_truth, extra_info):\n"
                         "  return float(solution_str == ground_truth)\n";
  const auto rule = rules::make_rule("python", {{"file", file.string()}, {"workers", std::int64_t(workers)}});
  const rules::row_context row{.prompt = {{"user", std::string(200, 'p')}}, .data_source = "bench"};
  const std::string text(400, 'a');
  std::vector<double> took(answers);
  std::atomic<std::size_t> next = 0, failed = 0;
  const auto work = [&](std::size_t until) {
    for (std::size_t i = next++; i < until; i = next++) {
      const auto start = clock_type::now();
      failed += rule->evaluate({.text = text, .answer = "4", .row = &row}).status != rules::score_status::value;
      took[i] = seconds_since(start);
    }
  };
  const auto warm = rule->unusable();
  const auto start = clock_type::now();
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < workers; ++t)
    threads.emplace_back(work, answers);
  for (auto& thread : threads)
    thread.join();
  const double seconds = seconds_since(start);
  std::sort(took.begin(), took.end());
  std::printf("{\"workers\": %zu, \"answers\": %zu, \"failed\": %zu, \"scores_per_s\": %.0f, \"p50_ms\": %.3f, "
              "\"p99_ms\": %.3f}\n",
              workers, answers, failed.load(), static_cast<double>(answers) / seconds, took[answers / 2] * 1e3,
              took[answers * 99 / 100] * 1e3);
  std::filesystem::remove_all(folder);
  return warm.empty() ? 0 : 1;
}
