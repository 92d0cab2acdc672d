#include "actors/process/node_host.hpp"
#include "runtime/cluster/job_part.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/clusters/conducted_run.hpp"
#include "tools/clusters/held_secret.hpp"
#include "tools/command.hpp"
#include "tools/commands/pipeline_arguments.hpp"

#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

namespace millrace::tools {
namespace {

struct job_arguments {
  pipeline_arguments pipeline;
  std::string output;
  std::string secret_file;
  std::int64_t port = 0;
};

/// A cluster may know the name of a host later than it starts the host's process.
std::string address_in_time(const cluster::job_part& part) {
  constexpr int patience_s = 300;
  for (int waited_s = 0;; ++waited_s)
    try {
      return cluster::listen_address_of(part);
    } catch (const input_error&) {
      if (waited_s == patience_s)
        throw;
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
}

cluster::job_part part_for(const job_arguments& given) {
  auto part = cluster::part_of_job([](const char* name) { return std::getenv(name); });
  if (!part)
    throw input_error("no launcher has started this process: found none of SLURM_STEP_ID, JOB_COMPLETION_INDEX, RANK, "
                      "OMPI_COMM_WORLD_RANK and MILLRACE_RANK; want `srun millrace job ...`, or `millrace run` on one "
                      "host");
  if (given.port != 0)
    part->port = static_cast<std::uint16_t>(given.port);
  if (part->hosts.size() > 1 && given.secret_file.empty())
    throw input_error("--secret-file: not given for a job of " + std::to_string(part->hosts.size())
                      + " hosts, want the file with the secret that they share");
  return *part;
}

int take_part(job_arguments given) {
  const auto part = part_for(given);
  std::optional<held_secret> held; // while the run lives, which reads it
  if (given.secret_file == "-" && part.hosts.size() > 1)
    given.secret_file = held.emplace(secret_on_stdin()).path();
  const auto secret = part.hosts.size() > 1 ? cluster::root_of_file(given.secret_file) : cluster::root_key{};
  if (!part.is_run())
    return actors::run_node({.listen = address_in_time(part), .secret = secret, .end = actors::node_end::with_its_run});
  const auto nodes = nodes_of(part);
  telemetry::log_info("job", part.launcher + ": the run on " + part.hosts.front() + ", with "
                                 + std::to_string(nodes.size()) + (nodes.size() == 1 ? " node" : " nodes"));
  const stop_request stop;
  const int status = conduct({.files = given.pipeline.files,
                              .overrides = given.pipeline.overrides,
                              .output = given.output,
                              .nodes = nodes,
                              .secret_file = given.secret_file},
                             stop);
  if (!nodes.empty())
    actors::end_nodes(nodes, secret);
  return status;
}

} // namespace

command job_command() {
  const auto given = std::make_shared<job_arguments>();
  return {
      .name = "job",
      .help = "One process of a job on several hosts: its part is what the launcher says",
      .footer = R"(Started once on each host, by the launcher: srun, an Indexed Job of Kubernetes, torchrun, mpirun.
The first process is the run, or goes on with it where DIR holds one; the others are nodes until the run has ended.
Roles with  placement.ROLE.hosts = "any"  live on all of the job's hosts.
    launcher     rank                   processes              hosts
    Slurm        SLURM_PROCID           SLURM_STEP_NUM_TASKS   SLURM_STEP_NODELIST
    Kubernetes   JOB_COMPLETION_INDEX                          MILLRACE_HOSTS
    torchrun     RANK                   WORLD_SIZE             MILLRACE_HOSTS
    Open MPI     OMPI_COMM_WORLD_RANK   OMPI_COMM_WORLD_SIZE   MILLRACE_HOSTS
    by hand      MILLRACE_RANK                                 MILLRACE_HOSTS
MILLRACE_HOSTS is a list by rank, such as a,gpu[1-3]. `millrace slurm` and `millrace kubernetes` write such jobs.
Exit status: that of the run; of a node 0, or 3 after a signal.)",
      .arguments =
          {given->pipeline.file(),
           given->pipeline.set(),
           {.name = "--output",
            .to = &given->output,
            .help = "The run's folder, on a file system that all hosts share",
            .required = true},
           {.name = "--secret-file",
            .to = &given->secret_file,
            .help =
                "File with the secret of the job's hosts, readable by its owner only; - for the first line of stdin"},
           {.name = "--port",
            .to = &given->port,
            .help = "Of the nodes; default 7000, under Slurm 20000 + the job's number modulo 10000",
            .between = {{1, 65535}}}},
      .run = [given] { return take_part(*given); }};
}

} // namespace millrace::tools
