#pragma once

#include "tools/commands/pipeline_arguments.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace millrace::tools {

/// A run as a job of a cluster.
struct cluster_job {
  std::string name;                         ///< of the run
  std::int64_t nodes = 1;                   ///< hosts, the run's own among them
  std::vector<std::filesystem::path> files; ///< absolute
  std::vector<std::string> overrides;
  std::string resolved; ///< the pipeline as one file
};

/// Reads the pipeline that is to run. @throws pipeline_errors; input_error if more than one host is asked for and no
/// role may live on the others
cluster_job job_of(const pipeline_arguments& pipeline, std::int64_t nodes);

/// As a shell reads one word: quoted where that is needed.
std::string shell_word(const std::string& text);

/// The path of this program.
std::filesystem::path own_program();

struct slurm_options {
  std::string program;             ///< path of millrace on every node
  std::string output;              ///< the run's folder; "" = runs/NAME-JOB
  std::vector<std::string> sbatch; ///< further options, "--time=1:00:00"
};

/// The batch script of a job.
std::string slurm_script(const cluster_job& job, const slurm_options& options);

struct kubernetes_options {
  std::string image;
  std::string claim;     ///< PersistentVolumeClaim for the run's folder; "" = a folder that ends with the pod
  std::int64_t gpus = 0; ///< of each pod
};

/// An Indexed Job, the headless Service that names its pods, and a ConfigMap with its pipeline, as YAML documents.
std::string kubernetes_manifest(const cluster_job& job, const kubernetes_options& options);

} // namespace millrace::tools
