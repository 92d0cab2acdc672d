#include "actors/process/run_start.hpp"

#include "runtime/data/row_file.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/run_files/checkpoint_store.hpp"
#include "runtime/supervision/placed_processes.hpp"
#include "runtime/supervision/saved_position.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/input_error.hpp"

#include <limits>
#include <set>
#include <string>
#include <variant>

namespace millrace::actors {
namespace {

/// Where the data went on when the checkpoint was made.
source_position read_position(const std::filesystem::path& checkpoint) {
  const auto path = checkpoint / "source.txt";
  try {
    return supervision::position_from(formats::read_text(path));
  } catch (const input_error& error) {
    throw input_error(path.string() + ": " + error.what());
  }
}

run_start start_from(const pipeline::pipeline& p, const std::filesystem::path& checkpoint) {
  run_start start;
  start.checkpoint = checkpoint;
  start.scheduler = std::make_shared<schedule::scheduler>(
      schedule::scheduler::restore(pipeline::schedule_of(p), formats::read_text(checkpoint / "scheduler.txt")));
  start.position = read_position(checkpoint);
  if (start.scheduler->at().part > 0)
    start.within_step = supervision::step_figures(formats::read_text(checkpoint / "step.json"));
  return start;
}

void warn_of_checkpoint(const std::string& line) {
  telemetry::log_warning("run", line);
}

/// A role did not start from the checkpoint of `step`: goes on from the one before, if there is one.
void leave(std::int64_t step, const std::filesystem::path& checkpoints, const resumption& how, const std::string& why) {
  if (!how.again || !run_files::latest_checkpoint(checkpoints, {}, step))
    return;
  warn_of_checkpoint("the checkpoint of step " + std::to_string(step)
                     + " does not load, so the run goes on from the one before it: " + why);
  how.again(step);
}

} // namespace

run_files::data_files data_files_of(const pipeline::pipeline& p) {
  std::set<std::string> elsewhere;
  for (const auto& placed : supervision::placed_processes(p))
    if (!placed.host.empty())
      elsewhere.insert(placed.role.role);
  run_files::data_files files;
  const auto add = [&files](const std::string& name, const std::filesystem::path& file) {
    if (!file.empty())
      files.emplace(name, file);
  };
  const auto add_rows = [&add](const std::string& name, const std::filesystem::path& path) {
    if (path.empty())
      return;
    const auto all = data::files_of(path);
    for (const auto& file : all)
      add(all.size() == 1 ? name : name + '/' + file.filename().string(), file);
  };
  for (const auto& role : p.roles)
    if (!elsewhere.contains(role.name))
      std::visit(
          [&](const auto& table) {
            if constexpr (requires { table.sources; })
              for (const auto& source : table.sources)
                add_rows(role.name + '/' + source.name, source.file);
            if constexpr (requires { table.file; })
              add_rows(role.name, table.file);
            if constexpr (requires { table.pretraining->file; })
              if (table.pretraining)
                add(role.name, table.pretraining->file);
          },
          role.options);
  return files;
}

run_start first_start(const pipeline::pipeline& p) {
  run_start start;
  start.scheduler = std::make_shared<schedule::scheduler>(pipeline::schedule_of(p));
  return start;
}

run_start newest_start(const pipeline::pipeline& p, const run_files::run_folder& folder, const resumption& how) {
  std::optional<input_error> newest_error;
  auto before = how.before;
  while (const auto found = run_files::latest_checkpoint(folder.checkpoints(), warn_of_checkpoint, before)) {
    try {
      auto start = start_from(p, found->folder);
      start.data = how.data;
      start.without_checkpoint = [how, step = found->step, checkpoints = folder.checkpoints()](const std::string& why) {
        leave(step, checkpoints, how, why);
      };
      if (newest_error)
        warn_of_checkpoint("the checkpoint of step " + std::to_string(before)
                           + " cannot be read, so the run goes on from the one "
                             "before it: "
                           + newest_error->what());
      telemetry::log_info("run", "going on from step " + std::to_string(found->step));
      return start;
    } catch (const input_error& error) {
      if (!newest_error)
        newest_error = error;
      before = found->step;
    }
  }
  if (newest_error)
    throw *newest_error;
  if (how.before != std::numeric_limits<std::int64_t>::max())
    throw input_error(folder.checkpoints().string() + ": no checkpoint of a step before " + std::to_string(how.before));
  warn_of_checkpoint("there is no checkpoint yet: the run begins again");
  auto start = first_start(p);
  start.data = how.data;
  return start;
}

} // namespace millrace::actors
