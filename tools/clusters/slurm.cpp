#include "runtime/words/input_error.hpp"
#include "tools/clusters/cluster_job.hpp"
#include "tools/command.hpp"

#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <memory>

namespace millrace::tools {
namespace {

struct slurm_arguments {
  pipeline_arguments pipeline;
  std::int64_t nodes = 1;
  slurm_options options;
  bool submit = false;
};

/// @returns the exit status of sbatch
int submit(const std::string& script) {
  std::signal(SIGPIPE, SIG_IGN);
  FILE* sbatch = popen("exec sbatch", "w");
  if (!sbatch)
    throw input_error("--submit: cannot start sbatch");
  std::fputs(script.c_str(), sbatch);
  const int status = pclose(sbatch);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    throw input_error("--submit: found no sbatch here, want a host from which jobs are submitted");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int write_script(slurm_arguments given) {
  if (given.options.program.empty())
    given.options.program = own_program().string();
  const auto script = slurm_script(job_of(given.pipeline, given.nodes), given.options);
  if (given.submit)
    return submit(script);
  std::fputs(script.c_str(), stdout);
  return 0;
}

} // namespace

command slurm_command() {
  const auto given = std::make_shared<slurm_arguments>();
  return {.name = "slurm",
          .help = "Writes the batch script that runs a pipeline under Slurm, and submits it",
          .footer = R"(The script goes to stdout, or with --submit to sbatch.
Roles with  placement.ROLE.hosts = "any"  live on all of the job's nodes. Files, models and this program lie at the same
paths on all of them, and the run's folder is on a file system that they share.
Before its time limit the job writes a checkpoint, and is queued again; so it is after a node has failed.
    millrace slurm recipe.toml --nodes 4 --sbatch=--time=12:00:00 --sbatch=--gpus-per-node=8 --submit)",
          .arguments = {given->pipeline.file(),
                        given->pipeline.set(),
                        {.name = "--nodes",
                         .to = &given->nodes,
                         .help = "Hosts of the job, that of the run among them",
                         .shows_default = true,
                         .between = {{1, 65536}}},
                        {.name = "--output",
                         .to = &given->options.output,
                         .help = "The run's folder; default runs/NAME-JOB in the folder where the job is submitted"},
                        {.name = "--sbatch",
                         .to = &given->options.sbatch,
                         .help = "An option for sbatch, such as --sbatch=--time=1:00:00; after those of the script",
                         .one_at_a_time = true},
                        {.name = "--program",
                         .to = &given->options.program,
                         .help = "Path of millrace on the job's hosts; default: that of this program"},
                        {.name = "--submit", .to = &given->submit, .help = "Submits the script"}},
          .run = [given] { return write_script(*given); }};
}

} // namespace millrace::tools
