#include "tests/support/slurm_cluster.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

namespace slurm_test {

using namespace millrace::tests;

namespace {

/// A run of both hosts of a Slurm cluster, submitted as a person would.
class slurm_job {
public:
  explicit slurm_job(int steps, const strings& more = {}) : run({.steps = steps}) {
    strings words{"slurm",    (run / "tiny.toml").string(),      "--nodes",  "2",
                  "--output", run.files().folder().string(),     "--submit", "--sbatch=--output=" + log_file(),
                  "--set",    "placement.rollout.hosts=\"any\"", "--set",    "roles.learner.threads=1"};
    words.insert(words.end(), more.begin(), more.end());
    const auto said = cluster.ask(command_line(words));
    CAPTURE(said);
    REQUIRE(said.starts_with("Submitted batch job "));
    id = said.substr(20, said.find('\n') - 20);
  }

  std::string log_file() const { return (run / "job.log").string(); }

  std::string log() const { return read_file(log_file()); }

  bool says(const std::string& text) const { return log().find(text) != std::string::npos; }

  bool comes_to(const std::string& state, double deadline_s = 60) const {
    const bool came = wait_until([&] { return cluster.state_of(id) == state; }, deadline_s);
    if (!came)
      MESSAGE("the job is " << cluster.state_of(id) << ", and its log ends with\n"
                            << log().substr(log().size() - std::min<std::size_t>(log().size(), 3000)));
    return came;
  }

  bool trains(std::size_t steps) const {
    return wait_until([&] { return run.files().steps() >= steps; }, 90); // Slurm holds what is queued again
  }

  /// Nothing is left of a job that is not running: no process of ours on either host. Its secret was on no disk.
  bool is_gone() const {
    return !std::filesystem::exists(run.files().folder().string() + ".secret")
           && wait_until([&] { return cluster.processes_called("millrace") == 0; }, 10);
  }

  slurm_cluster cluster;
  tiny_run run;
  std::string id;
};

/// The curve of the same run in one process, without Slurm.
strings curve_of_one_process(int steps) {
  const tiny_run run({.steps = steps});
  REQUIRE(run_to_end(run.start({"--set", "roles.learner.threads=1"})).status == 0);
  return run.files().learning_curve();
}

} // namespace

TEST_CASE("Slurm runs a job on two nodes to its end: a rollout on each, the curve of one process, nothing left") {
  if (!can_have_slurm())
    return;
  const slurm_job job(40);
  REQUIRE(job.comes_to("COMPLETED"));
  CHECK(job.says("Slurm: the run on mill-a, with 1 node"));
  CHECK(job.says("on mill-b:20"));
  check_each_group_once(job.run.files(), 40);
  CHECK(job.run.files().learning_curve() == curve_of_one_process(40));
  CHECK(job.is_gone());
}

TEST_CASE("a job that is queued again in the middle of a step goes on by itself: nothing lost, nothing twice") {
  if (!can_have_slurm())
    return;
  const slurm_job job(300);
  REQUIRE(job.trains(60));
  const auto before = std::chrono::steady_clock::now();
  job.cluster.ask({"/usr/bin/scontrol", "requeue", job.id});
  REQUIRE(job.comes_to("PENDING", 30));
  MESSAGE("from the requeue until the job had ended: " << since(before) << " s");
  CHECK(job.is_gone());
  REQUIRE(job.comes_to("COMPLETED", 90));
  CHECK(job.cluster.field_of(job.id, "Restarts") == "1");
  CHECK(job.says("stopping: SIGTERM"));
  CHECK(job.says("step 1/300 "));
  CHECK(job.says("step 300/300 "));
  check_each_group_once(job.run.files(), 300);
  CHECK(job.run.files().learning_curve() == curve_of_one_process(300));
  CHECK(job.is_gone());
}

TEST_CASE("the signal before the time limit brings a checkpoint, and the job is queued again by itself") {
  if (!can_have_slurm())
    return;
  const slurm_job job(1'000'000, {"--sbatch=--time=1", "--sbatch=--signal=USR1@50"});
  REQUIRE(wait_until([&] { return job.says("stopping: SIGUSR1"); }, 70)); // Slurm may be so much too early or late
  const auto before = std::chrono::steady_clock::now();
  REQUIRE(job.comes_to("PENDING", 30));
  MESSAGE("from the signal until the job had ended: " << since(before) << " s");
  CHECK(job.is_gone());
  const auto steps = job.run.files().steps();
  CHECK(job.trains(steps + 20));
  CHECK(job.cluster.field_of(job.id, "Restarts") == "1");
  job.cluster.ask({"/usr/bin/scancel", job.id});
  REQUIRE(job.comes_to("CANCELLED", 40));
  check_each_group_once(job.run.files(), static_cast<int>(job.run.files().steps()));
}

TEST_CASE("a job that a person cancels stops with a checkpoint, and is not queued again") {
  if (!can_have_slurm())
    return;
  const slurm_job job(1'000'000);
  REQUIRE(job.trains(20));
  job.cluster.ask({"/usr/bin/scancel", job.id});
  REQUIRE(job.comes_to("CANCELLED", 40));
  CHECK(job.is_gone());
  // A person goes on without Slurm: the job's nodes are gone.
  const auto steps = job.run.files().steps();
  const auto resumed =
      run_to_end(job.run.resume({"--set", "placement.nodes=[]", "--set", "run.steps=" + std::to_string(steps + 5)}));
  CAPTURE(resumed.err);
  CHECK(resumed.status == 0);
  check_each_group_once(job.run.files(), static_cast<int>(steps + 5));
  CHECK(job.cluster.state_of(job.id) == "CANCELLED");
}

TEST_CASE("tasks that are not one a host are refused in one line") {
  if (!can_have_slurm())
    return;
  const slurm_cluster cluster;
  const tiny_run run;
  strings words{"/usr/bin/srun", "--nodes=1", "--ntasks=2", "--quiet"};
  const auto job = command_line({"job", (run / "tiny.toml").string(), "--output", run.files().folder().string()});
  words.insert(words.end(), job.begin(), job.end());
  const auto refused = run_to_end(cluster.on_a(words));
  CHECK(refused.status == 1);
  CHECK(refused.err.find("millrace: SLURM_STEP_NUM_TASKS=2 and SLURM_STEP_NODELIST=mill-a, 1 host: want one process a "
                         "host\n")
        != std::string::npos);
}

} // namespace slurm_test
