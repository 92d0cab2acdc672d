#include "tools/clusters/cluster_job.hpp"
#include "tools/command.hpp"

#include <cstdio>
#include <memory>

namespace millrace::tools {

command kubernetes_command() {
  struct kubernetes_arguments {
    pipeline_arguments pipeline;
    std::int64_t nodes = 1;
    kubernetes_options options;
  };

  const auto given = std::make_shared<kubernetes_arguments>();
  return {.name = "kubernetes",
          .help = "Writes the Indexed Job that runs a pipeline under Kubernetes",
          .footer =
              R"(The manifest goes to stdout: a ConfigMap with the pipeline, a headless Service, the Job.
It names a Secret, and says how that is made.
Roles with  placement.ROLE.hosts = "any"  live in all of the job's pods.
    millrace kubernetes recipe.toml --nodes 4 --image registry/millrace --claim runs --gpus 8 | kubectl apply -f -)",
          .arguments = {given->pipeline.file(),
                        given->pipeline.set(),
                        {.name = "--nodes",
                         .to = &given->nodes,
                         .help = "Pods of the job, that of the run among them",
                         .shows_default = true,
                         .between = {{1, 65536}}},
                        {.name = "--image",
                         .to = &given->options.image,
                         .help = "The image, with millrace and all that the pipeline names",
                         .required = true},
                        {.name = "--claim",
                         .to = &given->options.claim,
                         .help = "PersistentVolumeClaim for the run's folder; default: it ends with its pod"},
                        {.name = "--gpus",
                         .to = &given->options.gpus,
                         .help = "GPUs of each pod",
                         .numbers = sign::not_negative}},
          .run = [given] {
            std::fputs(kubernetes_manifest(job_of(given->pipeline, given->nodes), given->options).c_str(), stdout);
            return 0;
          }};
}

} // namespace millrace::tools
