#include "runtime/telemetry/checkpoint_store.hpp"
#include "runtime/telemetry/metrics.hpp"
#include "runtime/telemetry/run_folder.hpp"
#include "runtime/telemetry/run_status.hpp"
#include "tools/command.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

namespace millrace::tools {
namespace {

struct status_options {
  std::filesystem::path folder;
  bool json = false;
};

double wall_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The status that the run wrote, or what its other files tell if it ended before it wrote one.
telemetry::run_status status_of(const std::filesystem::path& folder) {
  auto status = telemetry::read_status(folder / "status.json").value_or(telemetry::run_status{});
  if (status.name.empty())
    status.name = std::filesystem::absolute(folder).lexically_normal().filename().string();
  const auto steps = telemetry::checkpoint_steps(folder / "checkpoints");
  if (!steps.empty())
    status.checkpoint_step = steps.back();
  return status;
}

nlohmann::ordered_json last_metrics(const std::filesystem::path& folder) {
  nlohmann::ordered_json object;
  const auto rows = telemetry::read_metrics(folder / "metrics.jsonl");
  if (rows.empty())
    return object;
  object["step"] = rows.back().step;
  for (const auto& [name, value] : rows.back().values)
    object[name] = value;
  return object;
}

int show(const status_options& options) {
  const auto holder = telemetry::holder_of_run(options.folder);
  const auto status = status_of(options.folder);
  const auto metrics = last_metrics(options.folder);
  if (options.json) {
    auto object = nlohmann::ordered_json::parse(telemetry::to_json(status));
    object["running"] = holder.has_value();
    object["last_metrics"] = metrics;
    std::printf("%s\n", object.dump().c_str());
    return 0;
  }
  std::fputs(telemetry::in_words(status, options.folder, holder.has_value(), wall_s()).c_str(), stderr);
  if (!metrics.empty()) {
    std::fprintf(stderr, "last figures\n");
    for (const auto& [name, value] : metrics.items())
      std::fprintf(stderr, "  %-36s %s\n", name.c_str(), value.dump().c_str());
  }
  return 0;
}

} // namespace

command add_status(CLI::App& root) {
  auto options = std::make_shared<status_options>();
  auto* app = root.add_subcommand("status", "Say how a run stands: is it alive, how far is it, who waits for whom");
  app->add_option("DIR", options->folder, "The run's folder")->required();
  app->add_flag("--json", options->json, "One JSON object instead of words");
  return [options] { return show(*options); };
}

} // namespace millrace::tools
