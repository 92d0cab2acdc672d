#include "actors/replay.hpp"
#include "runtime/input_error.hpp"
#include "runtime/telemetry/metrics.hpp"
#include "runtime/telemetry/run_folder.hpp"
#include "runtime/telemetry/step_lines.hpp"
#include "tools/command.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <vector>

namespace millrace::tools {
namespace {

struct replay_options {
  std::filesystem::path folder;
  std::int64_t steps = 0;
};

std::vector<train::step_lineage> read_record(const std::filesystem::path& path) {
  std::vector<train::step_lineage> steps;
  for (const auto& line : telemetry::read_step_lines(path)) {
    try {
      steps.push_back(train::step_lineage_from(line));
    } catch (const std::invalid_argument& error) {
      throw input_error(path.string() + ":" + std::to_string(steps.size() + 1) + ":1: " + error.what());
    }
  }
  if (steps.empty())
    throw input_error(path.string() + ": no step is recorded, want the folder of a run that trained");
  return steps;
}

/// The oldest version that the steps from each on need.
std::vector<std::uint32_t> oldest_versions(const std::vector<train::step_lineage>& steps) {
  std::vector<std::uint32_t> oldest(steps.size());
  std::uint32_t least = std::numeric_limits<std::uint32_t>::max();
  for (std::size_t i = steps.size(); i-- > 0;) {
    least = std::min(least, steps[i].version);
    for (const auto& group : steps[i].groups)
      for (const auto& runs : group.answers)
        for (const auto& run : runs)
          least = std::min(least, run.version);
    oldest[i] = least;
  }
  return oldest;
}

/// Figures of a step that must be the same bit for bit.
constexpr std::string_view compared[] = {telemetry::metric::loss, telemetry::metric::gradient_norm, telemetry::metric::reward,
                                         telemetry::metric::entropy, telemetry::metric::policy_kl};

/// @returns the first figure that differs, in words, or ""
std::string difference(const telemetry::metric_row& recorded, const std::map<std::string, double>& again) {
  for (const auto name : compared) {
    const auto was = recorded.get(name);
    const auto is = again.find(std::string(name));
    if (!was || is == again.end() || std::bit_cast<std::uint64_t>(*was) == std::bit_cast<std::uint64_t>(is->second))
      continue;
    char text[160];
    std::snprintf(text, sizeof text, "%s was %.17g and is %.17g", std::string(name).c_str(), *was, is->second);
    return text;
  }
  return {};
}

int run_again(const replay_options& options) {
  telemetry::holder_of_run(options.folder); // says so where it is no run
  const auto p = pipeline::read_pipeline(options.folder / "resolved.toml");
  auto steps = read_record(options.folder / "replay.jsonl");
  const auto metrics = telemetry::read_metrics(options.folder / "metrics.jsonl");
  if (options.steps > 0)
    std::erase_if(steps, [&](const auto& part) { return part.step > static_cast<std::uint64_t>(options.steps); });
  const auto ended = std::count_if(steps.begin(), steps.end(), [](const auto& part) { return part.ends_step; });
  const auto oldest = oldest_versions(steps);
  actors::replay replay(p, steps.front().threads);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto& recorded = steps[i];
    auto step = replay.step(recorded, oldest[i]);
    std::string what = step.difference;
    if (step.group)
      what = "group " + std::to_string(*step.group) + ": " + what;
    const auto row = std::find_if(metrics.begin(), metrics.end(), [&](const auto& m) {
      return m.step == static_cast<std::int64_t>(recorded.step) && m.get(telemetry::metric::loss);
    });
    if (what.empty() && recorded.ends_step && row != metrics.end())
      what = difference(*row, step.report.metrics);
    std::printf("{\"step\":%llu,\"part\":%u,\"same\":%s", static_cast<unsigned long long>(recorded.step), recorded.part, what.empty() ? "true" : "false");
    if (const auto loss = step.report.metrics.find(std::string(telemetry::metric::loss)); loss != step.report.metrics.end())
      std::printf(",\"loss\":%.17g", loss->second);
    std::printf("}\n");
    std::fflush(stdout);
    if (!what.empty()) {
      std::fprintf(stderr, "the first difference is in step %llu: %s\n", static_cast<unsigned long long>(recorded.step), what.c_str());
      return 1;
    }
  }
  std::fprintf(stderr, "%td steps, every one the same bit for bit: tokens, log-probabilities, rewards, losses, gradients\n", ended);
  return 0;
}

} // namespace

command add_replay(CLI::App& root) {
  auto options = std::make_shared<replay_options>();
  auto* app = root.add_subcommand("replay", "Make a recorded run again, bit for bit, and say where the first difference lies");
  app->footer("Each group is generated again from its seed with the versions that sampled its tokens, scored and trained, on one\n"
              "thread of control. One JSON object a step (or part of one) on stdout; exit status 1 at the first difference.");
  app->add_option("RUN", options->folder, "The run's folder")->required();
  app->add_option("--steps", options->steps, "Only the first steps (0: all)")->check(CLI::NonNegativeNumber);
  return [options] { return run_again(*options); };
}

} // namespace millrace::tools
