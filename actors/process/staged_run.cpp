#include "actors/process/staged_run.hpp"

#include "actors/process/run_host.hpp"
#include "runtime/run_files/checkpoint_store.hpp"
#include "runtime/run_files/storage.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/telemetry/run_status.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>

namespace millrace::actors {
namespace {

void warn(const std::string& line) {
  telemetry::log_warning("run", line);
}

/// A folder of an earlier stage's best checkpoint where it keeps one, else of its last.
std::filesystem::path part_of(const std::filesystem::path& run, const std::vector<pipeline::stage>& stages,
                              const pipeline::stage_reference& reference) {
  const auto stage =
      std::find_if(stages.begin(), stages.end(), [&](const auto& s) { return s.name == reference.stage; });
  const auto folder = folder_of_stage(run, stages, static_cast<std::size_t>(stage - stages.begin()));
  auto checkpoint = folder / "checkpoints" / "best";
  if (!std::filesystem::is_directory(checkpoint)) {
    const auto last = run_files::latest_checkpoint(folder / "checkpoints", warn);
    if (!last)
      throw input_error(folder.string() + ": no checkpoint, want the weights that stage " + reference.stage
                        + " ended with");
    checkpoint = last->folder;
  }
  const auto part = checkpoint / reference.part;
  if (!std::filesystem::is_directory(part))
    throw input_error(part.string() + ": no such folder in the checkpoint of stage " + reference.stage);
  return std::filesystem::absolute(part); // the stage's resolved file stands in another folder
}

int run_stage(const pipeline::pipeline& p, const std::filesystem::path& path, const resumption& how) {
  if (!std::filesystem::exists(path / "resolved.toml"))
    return run_new(p, run_files::run_folder::create(path));
  auto folder = run_files::run_folder::open(path);
  auto start = newest_start(p, folder, how);
  if (!(pipeline::read_pipeline(folder.resolved()) == p))
    folder.change_pipeline(pipeline::resolved_toml(p));
  return run_pipeline(p, folder, std::move(start));
}

} // namespace

std::filesystem::path folder_of_stage(const std::filesystem::path& run, const std::vector<pipeline::stage>& stages,
                                      std::size_t index) {
  return run / (std::to_string(index + 1) + '-' + stages.at(index).name);
}

bool is_finished(const std::filesystem::path& stage_folder) {
  const auto status = telemetry::read_status(stage_folder / "status.json");
  return status && status->state == "finished";
}

int run_stages(const std::vector<pipeline::stage>& stages, const run_files::run_folder& folder, const resumption& how) {
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const auto path = folder_of_stage(folder.path(), stages, i);
    const std::string which =
        "stage " + std::to_string(i + 1) + " of " + std::to_string(stages.size()) + ", " + stages[i].name;
    if (is_finished(path)) {
      telemetry::log_info("run", which + ": finished before");
      continue;
    }
    telemetry::log_info("run", which);
    const auto p = pipeline::with_references(
        stages[i].what, [&](const auto& reference) { return part_of(folder.path(), stages, reference); });
    if (const int status = run_stage(p, path, how); status != 0)
      return status;
  }
  return 0;
}

} // namespace millrace::actors
