#include "runtime/cluster/job_part.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

#include <map>

namespace job_part_test {

using namespace millrace;
using cluster::job_part;
using variables = std::map<std::string, std::string>;
using strings = std::vector<std::string>;

namespace {

std::optional<job_part> part_of(const variables& set) {
  return cluster::part_of_job([&](const char* name) {
    const auto found = set.find(name);
    return found == set.end() ? nullptr : found->second.c_str();
  });
}

std::string refusal_of(const variables& set) {
  try {
    part_of(set);
  } catch (const input_error& error) {
    return error.what();
  }
  return "read";
}

variables changed(variables set, const std::string& name, const std::string& value) {
  set[name] = value;
  return set;
}

/// As srun of Slurm 22.05 sets them.
const variables slurm{{"SLURM_STEP_ID", "0"},        {"SLURM_JOB_ID", "30042"},           {"SLURM_PROCID", "1"},
                      {"SLURM_STEP_NUM_TASKS", "3"}, {"SLURM_STEP_NODELIST", "n[2,1],m"}, {"SLURMD_NODENAME", "n1"}};

} // namespace

TEST_CASE("a process that no launcher has started has no part") {
  CHECK(!part_of({}));
  CHECK(!part_of({{"SLURM_PROCID", "0"}, {"SLURM_JOB_NODELIST", "n[1-2]"}})); // a batch script
  CHECK(!part_of({{"MILLRACE_HOSTS", "a,b"}}));
}

TEST_CASE("under srun the first task is the run, and the port follows from the job") {
  const auto part = part_of(slurm);
  REQUIRE(part);
  CHECK(part->launcher == "Slurm");
  CHECK(part->rank == 1);
  CHECK(!part->is_run());
  CHECK(part->hosts == strings{"n2", "n1", "m"});
  CHECK(part->port == 20042);
  CHECK(nodes_of(*part) == strings{"n1:20042", "m:20042"});
  CHECK(part_of(changed(changed(slurm, "SLURM_PROCID", "0"), "SLURMD_NODENAME", "n2"))->is_run());
}

TEST_CASE("Kubernetes, torchrun, Open MPI and a person say it in variables of their own") {
  for (const variables& set : {variables{{"JOB_COMPLETION_INDEX", "1"}},
                               {{"RANK", "1"}, {"WORLD_SIZE", "2"}},
                               {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}},
                               {{"MILLRACE_RANK", "1"}}}) {
    CAPTURE(set.begin()->first);
    const auto part = part_of(changed(set, "MILLRACE_HOSTS", "job-[0-1].svc"));
    REQUIRE(part);
    CHECK(part->rank == 1);
    CHECK(part->hosts == strings{"job-0.svc", "job-1.svc"});
    CHECK(nodes_of(*part) == strings{"job-1.svc:7000"});
    CHECK(refusal_of(set).find("and MILLRACE_HOSTS is not set, want the job's hosts by rank, such as a,b")
          != std::string::npos);
  }
}

TEST_CASE("variables that are missing, unreadable or contradict each other are one line each") {
  CHECK(refusal_of(changed(slurm, "SLURM_STEP_NUM_TASKS", "8"))
        == "SLURM_STEP_NUM_TASKS=8 and SLURM_STEP_NODELIST=n[2,1],m, 3 hosts: want one process a host");
  CHECK(refusal_of(changed(slurm, "SLURM_PROCID", "3"))
        == "SLURM_PROCID=3 and SLURM_STEP_NODELIST=n[2,1],m, 3 hosts: want a rank below their number");
  CHECK(refusal_of(changed(slurm, "SLURM_PROCID", "one")) == "SLURM_PROCID=one: want a number from 0");
  CHECK(refusal_of(changed(slurm, "SLURM_PROCID", "-1")) == "SLURM_PROCID=-1: want a number from 0");
  CHECK(refusal_of(changed(slurm, "SLURM_PROCID", ""))
        == "Slurm started this process (SLURM_STEP_ID=0) and SLURM_PROCID is not set");
  CHECK(refusal_of(changed(slurm, "SLURMD_NODENAME", "m"))
        == "SLURMD_NODENAME=m and SLURM_PROCID=1: SLURM_STEP_NODELIST=n[2,1],m has 'n1' there");
  CHECK(refusal_of(changed(slurm, "SLURM_STEP_NODELIST", "n[1-"))
        == "SLURM_STEP_NODELIST: list of hosts 'n[1-': found a bracket without its other half");
  CHECK(refusal_of({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MILLRACE_RANK", "0"}, {"MILLRACE_HOSTS", "a,b"}})
        == "torchrun makes this process 1 of 2, by hand makes it 0 of 2: want variables of one of them");
  CHECK(part_of({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MILLRACE_RANK", "1"}, {"MILLRACE_HOSTS", "a,b"}})->rank == 1);
}

TEST_CASE("a node listens on its host's own address, also where that host takes its name for a loopback address") {
  CHECK(cluster::listen_address_of({.launcher = "", .rank = 1, .hosts = {"10.0.0.1", "10.0.0.2"}, .port = 7000})
        == "10.0.0.2:7000");
  CHECK(cluster::listen_address_of({.launcher = "", .rank = 1, .hosts = {"127.0.0.1", "localhost"}, .port = 7000})
        == "127.0.0.1:7000");
}

} // namespace job_part_test
