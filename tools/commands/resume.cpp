#include "actors/process/run_host.hpp"
#include "actors/process/staged_run.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/decimal.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"
#include "tools/commands/watched_run.hpp"
#include "tools/memory_plan.hpp"

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace millrace::tools {

namespace {

struct resume_arguments {
  std::string folder;
  std::vector<std::string> overrides;
  std::int64_t before = std::numeric_limits<std::int64_t>::max();
  bool accept_data = false;
  std::string listen;
};

/// @param was the pipeline that the run had so far
/// @throws input_error where `p` asks for other adapters: those of a checkpoint go on as they are
void want_same_adapters(const pipeline::pipeline& was, const pipeline::pipeline& p) {
  const auto lora_of = [](const pipeline::pipeline& of) {
    const auto policies = of.of<pipeline::policy_table>();
    return policies.empty() ? std::nullopt : std::get<pipeline::policy_table>(policies[0]->options).lora;
  };
  const auto had = lora_of(was), asked = lora_of(p);
  if (!had || !asked)
    return;
  const auto check = [&](const char* key, const std::string& found, const std::string& want) {
    if (found != want)
      throw input_error("roles." + p.policy().name + ".lora." + key + ": found " + found + ", want " + want
                        + ": the checkpoint's adapters go on as they are");
  };
  check("rank", std::to_string(asked->rank), std::to_string(had->rank));
  check("alpha", decimal(asked->alpha), decimal(had->alpha));
  check("targets", asked->targets, had->targets);
}

int resume_run(const resume_arguments& given) {
  auto folder = run_files::run_folder::open(given.folder);
  const actors::resumption how{.data = given.accept_data ? run_files::changed_data::accepted
                                                         : run_files::changed_data::refused,
                               .before = given.before};
  const auto stages = pipeline::read_stages(folder.resolved(), with_listen(given.overrides, given.listen));
  want_memory(stages);
  const auto listening = listening_for(stages);
  if (listening)
    watch_run(*listening, folder.path(), stages);
  if (pipeline::is_staged(stages)) {
    if (!given.overrides.empty())
      run_files::replace_file(folder.resolved(), pipeline::resolved_stages(stages), run_files::survives::power_cut);
    return actors::run_stages(stages, folder, how);
  }
  const auto& p = stages[0].what;
  auto start = actors::newest_start(p, folder, how);
  if (start.scheduler->complete() && actors::is_finished(folder.path())) {
    const auto steps = start.scheduler->at().step;
    telemetry::process_log().say(p.run.name + ": finished before, " + std::to_string(steps) + " steps"
                                 + (steps < p.run.steps
                                        ? ": its data or run.stop_when ended it, and nothing is left to do"
                                        : ": nothing is left to do; more of them: millrace resume "
                                              + folder.path().string() + " --set run.steps=N"));
    return 0;
  }
  if (!given.overrides.empty()) {
    if (!start.checkpoint.empty())
      want_same_adapters(pipeline::read_stages(folder.resolved())[0].what, p);
    folder.change_pipeline(pipeline::resolved_toml(p));
  }
  return actors::run_pipeline(p, folder, std::move(start));
}

} // namespace

command resume_command() {
  const auto given = std::make_shared<resume_arguments>();
  return {.name = "resume",
          .help = "Goes on with a run from its last checkpoint",
          .footer =
              R"(What was trained after the last checkpoint is trained again from it: nothing twice, nothing skipped.
More steps: millrace resume DIR --set run.steps=200
Of a file with [[stage]]s the finished ones stay as they are: it goes on with the first that is not.)",
          .arguments = {{.name = "DIR", .to = &given->folder, .help = "The run's folder", .required = true},
                        {.name = "--set",
                         .to = &given->overrides,
                         .help = "Overrides one key of the run's resolved.toml",
                         .one_at_a_time = true},
                        {.name = "--before",
                         .to = &given->before,
                         .help = "Goes on from the newest checkpoint of a step before this one"},
                        {.name = "--listen",
                         .to = &given->listen,
                         .help = "ADDRESS:PORT at which a browser or Prometheus watches the run, as run.listen"},
                        {.name = "--accept-data",
                         .to = &given->accept_data,
                         .help = "Goes on though a data file is another one than at the run's start"}},
          .run = [given] { return resume_run(*given); }};
}

} // namespace millrace::tools
