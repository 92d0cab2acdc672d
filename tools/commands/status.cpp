#include "actors/process/staged_run.hpp"
#include "runtime/run_files/checkpoint_store.hpp"
#include "runtime/run_files/run_folder.hpp"
#include "runtime/telemetry/metrics.hpp"
#include "runtime/telemetry/printed.hpp"
#include "runtime/telemetry/run_status.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

namespace millrace::tools {
namespace {

struct status_arguments {
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
  const auto steps = run_files::checkpoint_steps(folder / "checkpoints");
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

/// As a person reads it: whole numbers whole, others with six digits.
std::string in_short(const nlohmann::ordered_json& value) {
  const auto number = value.get<double>();
  return telemetry::printed(std::nearbyint(number) == number && std::abs(number) < 1e15 ? "%.0f" : "%.6g", number);
}

int show_one(const status_arguments& options) {
  const auto holder = run_files::holder_of_run(options.folder);
  const auto status = status_of(options.folder);
  const auto metrics = last_metrics(options.folder);
  if (options.json) {
    auto object = nlohmann::ordered_json::parse(telemetry::to_json(status));
    object["running"] = holder.has_value();
    object["last_metrics"] = metrics;
    std::printf("%s\n", object.dump().c_str());
    return 0;
  }
  std::fputs(telemetry::in_words(status, options.folder,
                                 holder ? telemetry::run_process::alive : telemetry::run_process::gone, wall_s())
                 .c_str(),
             stderr);
  if (!metrics.empty()) {
    std::fprintf(stderr, "last figures\n");
    for (const auto& [name, value] : metrics.items())
      std::fprintf(stderr, "  %-36s %s\n", name.c_str(), in_short(value).c_str());
  }
  return 0;
}

/// The stages of the run; none of a plain pipeline, nor where the file reads no more (a model was moved away): how the
/// run stands can be said all the same.
std::vector<pipeline::stage> stages_in(const std::filesystem::path& folder) {
  run_files::holder_of_run(folder); // throws for what is no run
  try {
    auto stages = pipeline::read_stages(folder / "resolved.toml");
    return pipeline::is_staged(stages) ? stages : std::vector<pipeline::stage>{};
  } catch (const input_error&) {
    return {};
  }
}

/// Of a run of several stages: a line each, then the one that is under way, or the last that began.
int show_status(const status_arguments& options) {
  const auto stages = stages_in(options.folder);
  if (stages.empty())
    return show_one(options);
  auto current = options;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const auto folder = actors::folder_of_stage(options.folder, stages, i);
    const auto status = telemetry::read_status(folder / "status.json");
    const bool begun = std::filesystem::exists(folder / "resolved.toml");
    std::fprintf(stderr, "stage %zu of %zu, %-16s %s, %lld of %lld steps\n", i + 1, stages.size(),
                 stages[i].name.c_str(),
                 status  ? status->state.c_str()
                 : begun ? "starting"
                         : "to come",
                 static_cast<long long>(status ? status->step : 0), static_cast<long long>(stages[i].what.run.steps));
    if (begun)
      current.folder = folder;
  }
  return current.folder == options.folder ? 0 : show_one(current);
}

} // namespace

command status_command() {
  const auto given = std::make_shared<status_arguments>();
  return {.name = "status",
          .help = "Say how a run stands: is it alive, how far is it, who waits for whom",
          .arguments = {{.name = "DIR", .to = &given->folder, .help = "The run's folder", .required = true},
                        {.name = "--json", .to = &given->json, .help = "One JSON object instead of words"}},
          .run = [given] { return show_status(*given); }};
}

} // namespace millrace::tools
