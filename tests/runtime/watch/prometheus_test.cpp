#include "runtime/watch/prometheus.hpp"
#include "tests/runtime/watch/watched_example.hpp"
#include "tests/support/running_command.hpp"

#include <doctest/doctest.h>

#include <regex>
#include <set>
#include <sstream>

namespace prometheus_test {

using namespace millrace;
using namespace millrace::watch;
using namespace millrace::tests;
namespace fs = std::filesystem;

namespace {

std::string example_text(const fs::path& folder) {
  write_watched_run(folder);
  run_reader reader([&] { return folder; });
  reader.poll();
  const std::vector<gpu_use> gpus{{.index = 0, .memory_used = 5, .memory_total = 9, .utilisation = 0.5}};
  return prometheus_text(reader.view(), gpus);
}

} // namespace

TEST_CASE("metrics hold the ledger, the queues, the waits and the staleness of trained tokens") {
  const temporary_folder folder;
  const auto text = example_text(folder.path());
  CAPTURE(text);
  for (const auto* line :
       {"millrace_step 2\n", "millrace_groups{state=\"queued\"} 3\n", "millrace_tokens_total{role=\"rollout\"} 1000\n",
        "millrace_tokens_total{role=\"policy\"} 900\n", "millrace_dropped_tokens_total{reason=\"stale\\\"\\\\\"} 80\n",
        "millrace_pulled_bytes_total{to=\"rollout/0\",from=\"learner\",lane=\"tcp/lo, large ones "
        "mapped\",how=\"copied\"} 30\n",
        "millrace_pulled_bytes_total{to=\"rollout/0\",from=\"learner\",lane=\"tcp/lo, large ones "
        "mapped\",how=\"mapped\"} 20\n",
        "millrace_overdue_waits 1\n", "millrace_staleness_versions_bucket{le=\"0\"} 60\n",
        "millrace_staleness_versions_bucket{le=\"2\"} 60\n", "millrace_staleness_versions_bucket{le=\"4\"} 80\n",
        "millrace_staleness_versions_bucket{le=\"+Inf\"} 80\n", "millrace_staleness_versions_count 80\n",
        "millrace_staleness_versions_sum 30\n", // 40 tokens x 0.25 versions, then 40 x 0.5
        "millrace_figure{name=\"actor/entropy\"} 0.5\n", "millrace_gpu_memory_used_bytes{gpu=\"0\"} 5\n"})
    CHECK(text.find(line) != std::string::npos);
}

TEST_CASE("every line of the metrics has the form of the format, and no series comes twice") {
  const temporary_folder folder;
  const std::regex comment("# (HELP|TYPE) [a-z_]+ .+");
  const std::regex sample(R"re([a-z_]+(\{[a-z]+="([^"\\]|\\["\\n])*"(,[a-z]+="([^"\\]|\\["\\n])*")*\})? )re"
                          R"re(([-+]?[0-9.]+(e[-+][0-9]+)?|NaN|[+-]Inf))re");
  std::istringstream lines(example_text(folder.path()));
  std::set<std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    CHECK(std::regex_match(line, line.starts_with('#') ? comment : sample));
    CHECK(seen.insert(line.starts_with('#') ? line : line.substr(0, line.rfind(' '))).second);
  }
  CHECK(seen.size() > 40);
}

TEST_CASE("promtool accepts the metrics") {
  if (!fs::exists("/usr/bin/promtool")) {
    MESSAGE("skipped: no promtool (Debian's package prometheus)");
    return;
  }
  const temporary_folder folder;
  write_file(folder / "metrics", example_text(folder.path()));
  running_command promtool({"/bin/sh", "-c", "promtool check metrics < " + folder.path().string() + "/metrics"});
  const auto end = promtool.wait();
  CAPTURE(promtool.out());
  CAPTURE(promtool.err());
  CHECK(end.status == 0);
  CHECK(promtool.err() == "");
}

} // namespace prometheus_test
