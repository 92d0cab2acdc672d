#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <set>

namespace cluster_job_test {

using namespace millrace::tests;

namespace {

const strings anywhere{"--set", "placement.rollout.hosts=any"};

std::string printed_by(const strings& arguments) {
  const auto done = run_to_end(command_line(arguments));
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  return done.out;
}

/// A batch script, and programs in the places of srun and scontrol that write down how they are called.
struct batch {
  temporary_folder folder;
  tiny_run run;

  /// @param more for `millrace slurm`
  explicit batch(const strings& more = {}) {
    write_program("srun", "cat > stdin\nfor word; do echo \"$word\"; done > srun.words\nexit $(cat status)\n");
    write_program("scontrol", "echo \"$*\" >> scontrol.words\ncat job\n");
    auto words = with(with({"slurm", (run / "tiny.toml").string(), "--nodes", "2"}, anywhere), more);
    words.insert(words.end(), {"--output", (folder / "a run").string()});
    write_file(folder / "script", printed_by(words));
  }

  finished_command start(int status, const std::string& job) const {
    write_file(folder / "status", std::to_string(status));
    write_file(folder / "job", job);
    std::filesystem::remove(folder / "scontrol.words");
    return run_to_end({"/usr/bin/env", "PATH=" + folder.path().string() + ":/usr/bin:/bin", "SLURM_JOB_ID=17",
                       "/bin/sh", "-c", "cd \"$0\" && exec bash script", folder.path().string()});
  }

  /// What lies in the folder: what was given to it, and what the two programs have written.
  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
      found.insert(entry.path().filename().string());
    return found;
  }

  std::string read(const std::string& name) const { return read_file(folder / name); }

private:
  void write_program(const std::string& name, const std::string& body) const {
    write_file(folder / name, "#!/bin/sh\n" + body);
    chmod((folder / name).c_str(), 0755);
  }
};

} // namespace

TEST_CASE("the batch script starts a job with a secret of its own, on stdin alone, and every word as it was given") {
  const batch b({"--set", "run.name=\"other\"", "--sbatch=--time=1:00:00", "--program", "/opt/it's mill race"});
  CHECK(b.read("script").find("\n#SBATCH --nodes=2\n") != std::string::npos);
  CHECK(b.read("script").find("\n#SBATCH --time=1:00:00\n") != std::string::npos);
  std::string before;
  for (int start = 0; start < 2; ++start) {
    CHECK(b.start(0, "").status == 0);
    const auto secret = b.read("stdin");
    CHECK(secret.size() == 64);
    CHECK(secret.find_first_not_of("0123456789abcdef") == std::string::npos);
    CHECK(secret != before);
    CHECK(b.names() == std::set<std::string>{"job", "script", "scontrol", "srun", "srun.words", "status", "stdin"});
    before = secret;
  }
  CHECK(b.read("srun.words")
        == "--cpu-bind=none\n--kill-on-bad-exit=1\n--input=all\n/opt/it's mill race\njob\n"
               + (b.run / "tiny.toml").string()
               + "\n--set\nplacement.rollout.hosts=any\n--set\nrun.name=\"other\"\n--output\n"
               + (b.folder / "a run").string() + "\n--secret-file\n-\n");
}

TEST_CASE("the batch script queues a job again that a signal has stopped, unless Slurm has ended it itself") {
  const batch b;
  const auto queued = [&](int status, const std::string& job) {
    CHECK(b.start(status, job).status == status);
    return b.read("scontrol.words").find("requeue 17") != std::string::npos;
  };
  CHECK(queued(3, "JobId=17 JobState=RUNNING Reason=None"));
  CHECK(queued(3, "JobId=17 JobState=COMPLETING Reason=TimeLimit"));
  CHECK(!queued(3, "JobId=17 JobState=COMPLETING Reason=None")); // cancelled, or queued again by a person
  CHECK(!queued(0, "JobId=17 JobState=RUNNING Reason=None"));
  CHECK(!queued(1, "JobId=17 JobState=RUNNING Reason=None"));
}

TEST_CASE("--submit without sbatch is one line") {
  const tiny_run run;
  const auto words = with(command_line({"slurm", (run / "tiny.toml").string(), "--submit"}), {});
  const auto refused = run_to_end(with({"/usr/bin/env", "PATH=/nowhere"}, words));
  CHECK(refused.status == 1);
  CHECK(refused.err.find("millrace: --submit: found no sbatch here") != std::string::npos);
}

TEST_CASE("the manifest for Kubernetes is YAML with an Indexed Job, its Service and the pipeline") {
  const tiny_run run;
  auto words = with({"kubernetes", (run / "tiny.toml").string(), "--nodes", "3", "--image", "registry/mill:1",
                     "--claim", "runs", "--gpus", "8", "--set", "run.name=Tiny_Run"},
                    anywhere);
  const temporary_folder folder;
  write_file(folder / "manifest", printed_by(words));
  const auto parsed = run_to_end({"/usr/bin/env", "python3", "-c",
                                  "import json, sys, yaml\n"
                                  "print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))",
                                  (folder / "manifest").string()});
  if (parsed.status != 0) {
    MESSAGE("SKIPPED: Python has no yaml module, so the manifest was not parsed: " << parsed.err);
    return;
  }
  const auto documents = nlohmann::json::parse(parsed.out);
  REQUIRE(documents.size() == 3);
  const auto &pipeline = documents[0], &service = documents[1], &job = documents[2];
  CHECK(pipeline["kind"] == "ConfigMap");
  CHECK(service["kind"] == "Service");
  CHECK(service["spec"]["clusterIP"] == "None");
  CHECK(job["kind"] == "Job");
  CHECK(job["spec"]["completionMode"] == "Indexed");
  CHECK(job["spec"]["completions"] == 3);
  const auto& pod = job["spec"]["template"]["spec"];
  CHECK(pod["subdomain"] == service["metadata"]["name"]);
  CHECK(service["spec"]["selector"]["batch.kubernetes.io/job-name"] == job["metadata"]["name"]);
  CHECK(job["metadata"]["name"] == "tiny-run");
  CHECK(pod["volumes"][1]["secret"] == nlohmann::json{{"secretName", "tiny-run-secret"}, {"defaultMode", 0400}});
  CHECK(pod["volumes"][2]["persistentVolumeClaim"]["claimName"] == "runs");
  const auto& container = pod["containers"][0];
  CHECK(container["env"][0] == nlohmann::json{{"name", "MILLRACE_HOSTS"}, {"value", "tiny-run-[0-2].tiny-run"}});
  CHECK(container["resources"]["limits"]["nvidia.com/gpu"] == "8");
  CHECK(container["command"][1] == "job");
  write_file(folder / "pipeline.toml", pipeline["data"]["pipeline.toml"].get<std::string>());
  CHECK(run_to_end(command_line({"check", (folder / "pipeline.toml").string()})).status == 0);
}

namespace {

/// The processes of a job of two hosts, as Kubernetes or torchrun start them.
struct two_parts {
  temporary_folder folder;
  tiny_run run;
  std::string port = std::to_string(21000 + getpid() % 10000);

  explicit two_parts(int steps) : run({.steps = steps}) {
    write_file(folder / "secret", std::string(32, 's'));
    chmod((folder / "secret").c_str(), 0600);
  }

  strings part(const strings& variables, const std::string& hosts = "127.0.0.2,127.0.0.3") const {
    auto words = with({"/usr/bin/env", "MILLRACE_HOSTS=" + hosts}, variables);
    words = with(words, command_line({"job", (run / "tiny.toml").string(), "--output", run.files().folder().string(),
                                      "--secret-file", (folder / "secret").string(), "--port", port}));
    return with(words, anywhere);
  }
};

} // namespace

TEST_CASE("a job's first process is the run, the second its node until the run is over; it goes on where it stopped") {
  const two_parts job(60);
  running_command node(job.part({"JOB_COMPLETION_INDEX=1"}));
  running_command running(job.part({"JOB_COMPLETION_INDEX=0"}));
  REQUIRE(reaches(running, job.run.files(), 5));
  node.signal(SIGTERM); // as the run has it too: the node waits for the run's checkpoint
  running.signal(SIGTERM);
  CHECK(running.wait(20).status == 3);
  CHECK(node.wait(20).status == 0);
  CHECK(running.err().find("on 127.0.0.3:" + job.port) != std::string::npos);
  CHECK(running.err().find("is gone") == std::string::npos);

  running_command again(job.part({"RANK=0", "WORLD_SIZE=2"}));
  running_command other(job.part({"RANK=1", "WORLD_SIZE=2"}));
  CHECK(again.wait(60).status == 0);
  CHECK(other.wait(20).status == 0);
  check_each_group_once(job.run.files(), 60);
}

TEST_CASE("the parts of a job take the secret from stdin, and a line that is too short is one line") {
  const two_parts job(6);
  const auto with_stdin = [&](const std::string& rank, const std::string& secret) {
    auto words = job.part({"MILLRACE_RANK=" + rank});
    *std::ranges::find(words, (job.folder / "secret").string()) = "-";
    return with({"/bin/sh", "-c", "printf %s \"$0\" | \"$@\"", secret}, words);
  };
  const std::string secret(64, '7');
  running_command node(with_stdin("1", secret)), running(with_stdin("0", secret));
  CHECK(running.wait(30).status == 0);
  CHECK(node.wait(20).status == 0);
  CHECK(running.err().find("on 127.0.0.3:" + job.port) != std::string::npos);
  check_each_group_once(job.run.files(), 6);
  const auto resolved = read_file(job.run.files().folder() / "resolved.toml");
  CHECK(resolved.find(secret) == std::string::npos);
  const auto refused = run_to_end(with_stdin("1", "short"));
  CHECK(refused.status == 1);
  CHECK(refused.err == "millrace: --secret-file -: found a line of 5 bytes on stdin, want at least 32\n");
}

TEST_CASE("a node of a job that no run has used ends at a signal, and says to its launcher that it is not done") {
  const two_parts job(6);
  running_command node(job.part({"MILLRACE_RANK=1"}));
  REQUIRE(wait_until([&] { return node.err().find("listening on 127.0.0.3:") != std::string::npos; }));
  node.signal(SIGTERM);
  CHECK(node.wait(10).status == 3);
}

TEST_CASE("a job without a launcher, or without the secret that its hosts need, is one line") {
  const tiny_run run;
  const auto words = command_line({"job", (run / "tiny.toml").string(), "--output", run.files().folder().string()});
  const auto alone = run_to_end(words);
  CHECK(alone.status == 1);
  CHECK(alone.err.starts_with("millrace: no launcher has started this process: found none of SLURM_STEP_ID, "));
  const auto open = run_to_end(with({"/usr/bin/env", "MILLRACE_HOSTS=a,b", "MILLRACE_RANK=0"}, words));
  CHECK(open.status == 1);
  CHECK(open.err
        == "millrace: --secret-file: not given for a job of 2 hosts, want the file with the secret that they share\n");
}

} // namespace cluster_job_test
