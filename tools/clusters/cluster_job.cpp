#include "tools/clusters/cluster_job.hpp"

#include "runtime/pipeline/stages.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <sstream>
#include <string_view>

namespace millrace::tools {
namespace {

bool may_use_nodes(const pipeline::pipeline& p) {
  return std::ranges::any_of(p.placement.roles, [](const auto& entry) { return entry.second.on_any_host(); });
}

/// The arguments that every part of the job has in common, for a shell.
std::string shared_arguments(const cluster_job& job) {
  std::string words;
  for (const auto& file : job.files)
    words += ' ' + shell_word(file.string());
  for (const auto& set : job.overrides)
    words += " --set " + shell_word(set);
  return words;
}

} // namespace

cluster_job job_of(const pipeline_arguments& given, std::int64_t nodes) {
  const auto stages = pipeline::read_stages(given.files, given.overrides);
  if (nodes > 1 && std::ranges::none_of(stages, [](const auto& stage) { return may_use_nodes(stage.what); }))
    throw input_error(given.files.back().string()
                      + ": no role may live on another host, want placement.ROLE.hosts = "
                        "\"any\" for "
                      + std::to_string(nodes) + " nodes");
  cluster_job job{.name = pipeline::name_of_run(stages),
                  .nodes = nodes,
                  .files = {},
                  .overrides = given.overrides,
                  .resolved = pipeline::resolved_stages(stages)};
  for (const auto& file : given.files)
    job.files.push_back(std::filesystem::absolute(file).lexically_normal());
  return job;
}

std::string shell_word(const std::string& text) {
  constexpr std::string_view plain = "-_./:=,@%+";
  if (!text.empty() && std::ranges::all_of(text, [&](unsigned char c) {
        return c < 0x80 && (std::isalnum(c) || plain.find(static_cast<char>(c)) != std::string_view::npos);
      }))
    return text;
  std::string word = "'";
  for (const char c : text)
    word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + '\'';
}

std::filesystem::path own_program() {
  return std::filesystem::read_symlink("/proc/self/exe");
}

std::string slurm_script(const cluster_job& job, const slurm_options& options) {
  std::string script =
      "#!/bin/bash\n#SBATCH --job-name=" + job.name + "\n#SBATCH --nodes=" + std::to_string(job.nodes) + R"(
#SBATCH --ntasks-per-node=1     # the first task is the run, each other one a node of it
#SBATCH --exclusive
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append      # one log, however often the job is started again
#SBATCH --requeue               # a node that fails brings the job back
#SBATCH --signal=USR1@120       # so many seconds before its time is over, the run writes a checkpoint
)";
  for (const auto& option : options.sbatch)
    script += "#SBATCH " + option + '\n';
  script +=
      "\n# The run's folder. A job that is started again finds its run here, and goes on from the last checkpoint.\n"
      "run="
      + (options.output.empty() ? "$SLURM_SUBMIT_DIR/runs/" + job.name + "-$SLURM_JOB_ID"
                                : shell_word(std::filesystem::absolute(options.output).lexically_normal().string()))
      + R"sh(
mkdir -p "$(dirname "$run")"

trap : TERM                     # the tasks have the signal too, and this script waits for them

# What the job's hosts prove to each other is drawn at each start, and goes to the tasks through srun's stdin.
head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' | \
  srun --cpu-bind=none --kill-on-bad-exit=1 --input=all )sh"
      + shell_word(options.program) + " job" + shared_arguments(job) + R"sh( \
  --output "$run" --secret-file -
status=$?

# 3: a signal has stopped the run before its end, with a checkpoint. It goes on later if that was for the time limit.
# A job that was cancelled ends here, and one that was queued again or preempted is in Slurm's hands.
if [ $status = 3 ]; then
  case $(scontrol show job "$SLURM_JOB_ID") in
    *JobState=RUNNING* | *Reason=TimeLimit*) scontrol requeue "$SLURM_JOB_ID" ;;
  esac
fi
exit $status
)sh";
  return script;
}

namespace {

/// A name as Kubernetes takes it: small letters, digits and '-', short enough for "-INDEX" after it.
std::string kubernetes_name(const std::string& name) {
  constexpr std::size_t most = 50;
  std::string taken;
  for (const unsigned char c : name.substr(0, most))
    taken += std::isalnum(c) != 0 ? static_cast<char>(std::tolower(c)) : '-';
  while (taken.ends_with('-'))
    taken.pop_back();
  return taken;
}

/// A text as one YAML word; JSON's strings are YAML's.
std::string yaml_word(const std::string& text) {
  return nlohmann::json(text).dump();
}

std::string indented(const std::string& text, const std::string& by) {
  std::string lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    lines += (line.empty() ? "" : by + line) + '\n';
  return lines;
}

/// What stands before the pod: the pipeline, and the service that gives each pod a name.
std::string around_the_job(const cluster_job& job, const std::string& name) {
  return "# Written by `millrace kubernetes`. The secret that the pods share is made once, before:\n"
         "#   head -c 32 /dev/urandom > secret\n"
         "#   kubectl create secret generic "
         + name
         + "-secret --from-file=secret && rm secret\n"
           "# Paths in the pipeline are those of the image.\n"
           "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: "
         + name + "\ndata:\n  pipeline.toml: |\n" + indented(job.resolved, "    ")
         + "---\n# Each pod has a name: " + name + "-0." + name + R"( and so on.
apiVersion: v1
kind: Service
metadata:
  name: )"
         + name + R"(
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    batch.kubernetes.io/job-name: )"
         + name + "\n---\n";
}

std::string container_of(const cluster_job& job, const kubernetes_options& options, const std::string& name) {
  std::string text = "      - name: millrace\n        image: " + yaml_word(options.image) + R"(
        # The pod of index 0 is the run, or goes on with it; the others are its nodes.
        command: [millrace, job, /pipeline/pipeline.toml, --output, )"
                     + yaml_word("/runs/" + name) + R"(,
                  --secret-file, /secret/secret, --set, placement.connect_timeout_s=600]
        env:
        - name: MILLRACE_HOSTS
          value: )" + yaml_word(name + "-[0-" + std::to_string(job.nodes - 1) + "]." + name)
                     + '\n';
  if (options.gpus > 0)
    text +=
        "        resources:\n          limits:\n            nvidia.com/gpu: \"" + std::to_string(options.gpus) + "\"\n";
  return text + R"(        volumeMounts:
        - { name: pipeline, mountPath: /pipeline }
        - { name: secret, mountPath: /secret, readOnly: true }
        - { name: runs, mountPath: /runs }
)";
}

} // namespace

std::string kubernetes_manifest(const cluster_job& job, const kubernetes_options& options) {
  const auto name = kubernetes_name(job.name), pods = std::to_string(job.nodes);
  const std::string runs = options.claim.empty()
                               ? "emptyDir: {} # gone with its pod: want --claim"
                               : "persistentVolumeClaim: { claimName: " + yaml_word(options.claim) + " }";
  return around_the_job(job, name) + "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: " + name
         + "\nspec:\n  completionMode: Indexed\n  completions: " + pods + "\n  parallelism: " + pods + R"(
  backoffLimit: 6
  podFailurePolicy:
    rules:
    - action: Ignore # 3: a signal has stopped it, with a checkpoint
      onExitCodes: { containerName: millrace, operator: In, values: [3] }
    - action: FailJob # 2: a wrong command line stays one
      onExitCodes: { containerName: millrace, operator: In, values: [2] }
  template:
    spec:
      subdomain: )"
         + name + R"(
      restartPolicy: Never
      terminationGracePeriodSeconds: 60 # for a checkpoint
      containers:
)" + container_of(job, options, name)
         + R"(      volumes:
      - name: pipeline
        configMap: { name: )"
         + name + R"( }
      - name: secret
        secret: { secretName: )"
         + name + R"(-secret, defaultMode: 0400 }
      - name: runs
        )"
         + runs + '\n';
}

} // namespace millrace::tools
