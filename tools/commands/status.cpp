#include "actors/process/staged_run.hpp"
#include "runtime/run_files/checkpoint_store.hpp"
#include "runtime/run_files/run_folder.hpp"
#include "runtime/telemetry/metrics.hpp"
#include "runtime/telemetry/printed.hpp"
#include "runtime/telemetry/run_status.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace millrace::tools {
namespace {

struct status_arguments {
  std::filesystem::path folder;
  bool json = false, brief = false, watch = false;
};

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

nlohmann::ordered_json json_of_one(const std::filesystem::path& folder) {
  auto object = nlohmann::ordered_json::parse(telemetry::to_json(status_of(folder)));
  object["running"] = run_files::holder_of_run(folder).has_value();
  object["last_metrics"] = last_metrics(folder);
  return object;
}

/// In brief: how far it is, without the roles and the figures.
std::string words_of_one(const std::filesystem::path& folder, bool brief) {
  const auto holder = run_files::holder_of_run(folder);
  auto status = status_of(folder);
  if (brief)
    status.roles.clear();
  std::string text = telemetry::in_words(
      status, folder, holder ? telemetry::run_process::alive : telemetry::run_process::gone, telemetry::wall_s());
  const auto metrics = brief ? nlohmann::ordered_json() : last_metrics(folder);
  if (!metrics.empty())
    text += "last figures\n";
  for (const auto& [name, value] : metrics.items())
    text += telemetry::printed("  %-36s %s\n", name.c_str(), in_short(value).c_str());
  return text;
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

struct stage_line {
  std::string name, state;
  std::int64_t step = 0, steps = 0;
};

/// How a run stands: of one with several stages a line for each, and the folder of the one that is under way, or of
/// the last that began.
struct standing {
  std::vector<stage_line> stages; ///< none of a plain run
  std::filesystem::path current;  ///< "" where no stage has begun
};

standing standing_of(const std::filesystem::path& folder) {
  const auto stages = stages_in(folder);
  standing found;
  if (stages.empty())
    found.current = folder;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const auto own = actors::folder_of_stage(folder, stages, i);
    const auto status = telemetry::read_status(own / "status.json");
    const bool begun = std::filesystem::exists(own / "resolved.toml");
    found.stages.push_back({.name = stages[i].name,
                            .state = status  ? status->state
                                     : begun ? "starting"
                                             : "to come",
                            .step = status ? status->step : 0,
                            .steps = stages[i].what.run.steps});
    if (begun)
      found.current = own;
  }
  return found;
}

std::string in_json(const std::filesystem::path& folder) {
  const auto now = standing_of(folder);
  auto object = now.current.empty() ? nlohmann::ordered_json::object() : json_of_one(now.current);
  for (const auto& stage : now.stages)
    object["stages"].push_back(
        {{"name", stage.name}, {"state", stage.state}, {"step", stage.step}, {"steps", stage.steps}});
  return object.dump() + '\n';
}

std::string in_words(const std::filesystem::path& folder, bool brief) {
  const auto now = standing_of(folder);
  std::string text;
  for (std::size_t i = 0; i < now.stages.size(); ++i)
    text += telemetry::printed("stage %zu of %zu, %-16s %s, %lld of %lld steps\n", i + 1, now.stages.size(),
                               now.stages[i].name.c_str(), now.stages[i].state.c_str(),
                               static_cast<long long>(now.stages[i].step), static_cast<long long>(now.stages[i].steps));
  return now.current.empty() ? text : text + words_of_one(now.current, brief);
}

/// Says it again each second until the run's process is gone: in place on a terminal, else whenever it has changed.
void watch(const status_arguments& given) {
  constexpr auto pause = std::chrono::seconds(1);
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  std::string said;
  for (bool alive = true; alive;) {
    alive = run_files::holder_of_run(given.folder).has_value();
    const std::string text = given.json ? in_json(given.folder) : in_words(given.folder, given.brief);
    if (terminal && !given.json)
      std::fputs("\x1b[H\x1b[2J", stdout);
    if (terminal || text != said)
      std::fputs(text.c_str(), stdout);
    said = text;
    if (std::fflush(stdout) != 0)
      return; // nobody reads any more
    if (alive)
      std::this_thread::sleep_for(pause);
  }
}

int show_status(const status_arguments& given) {
  if (given.watch)
    watch(given);
  else
    std::fputs((given.json ? in_json(given.folder) : in_words(given.folder, given.brief)).c_str(), stdout);
  return 0;
}

} // namespace

command status_command() {
  const auto given = std::make_shared<status_arguments>();
  return {.name = "status",
          .help = "Say how a run stands: is it alive, how far is it, who waits for whom",
          .arguments = {{.name = "DIR", .to = &given->folder, .help = "The run's folder", .required = true},
                        {.name = "--brief",
                         .to = &given->brief,
                         .help = "How far it is and who waits, without the roles and the figures"},
                        {.name = "--watch",
                         .to = &given->watch,
                         .help = "Says it again each second, until the run has ended"},
                        {.name = "--json", .to = &given->json, .help = "One JSON object instead of words"}},
          .run = [given] { return show_status(*given); }};
}

} // namespace millrace::tools
