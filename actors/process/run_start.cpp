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

/// "steps 9 to 11 are trained again"
std::string repeated(std::int64_t from, std::int64_t to) {
  if (from == to)
    return "no whole step is trained again";
  if (from + 1 == to)
    return "step " + std::to_string(to) + " is trained again";
  return std::to_string(to - from) + " steps are trained again, " + std::to_string(from + 1) + " to "
         + std::to_string(to);
}

/// @param step of the checkpoint; nothing: there is none
void say_where(std::optional<std::int64_t> step, const std::optional<lost_learner>& after) {
  if (after)
    warn_of_checkpoint(after->line
                       + (step ? ": the run goes on from the checkpoint of step " + std::to_string(*step)
                               : ": there is no checkpoint yet, so the run begins again")
                       + "; " + repeated(step.value_or(0), after->steps));
  else if (step)
    telemetry::log_info("run", "going on from step " + std::to_string(*step));
  else
    warn_of_checkpoint("there is no checkpoint yet: the run begins again");
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
      if (newest_error)
        warn_of_checkpoint("the checkpoint of step " + std::to_string(before)
                           + " cannot be read, so the run goes on from the one "
                             "before it: "
                           + newest_error->what());
      say_where(found->step, how.after);
      return start;
    } catch (const input_error& error) {
      if (!newest_error)
        newest_error = error;
      before = found->step;
    }
  }
  if (newest_error)
    throw *newest_error;
  if (!how.after && how.before != std::numeric_limits<std::int64_t>::max())
    throw input_error(folder.checkpoints().string() + ": no checkpoint of a step before " + std::to_string(how.before));
  say_where({}, how.after);
  auto start = first_start(p);
  start.data = how.data;
  return start;
}

} // namespace millrace::actors
