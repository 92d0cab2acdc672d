#include "tests/support/slurm_cluster.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <stdexcept>

namespace millrace::tests {
namespace {

constexpr const char* first = "mill-a";
constexpr const char* second = "mill-b";

std::string configuration(const std::string& folder) {
  std::string text = "ClusterName=millrace\nSlurmctldHost=" + std::string(first) + "\n";
  text += "AuthType=auth/munge\nAuthInfo=socket=" + folder
          + "/munge.socket,cred_expire=5\n"; // and so long is a requeue held
  text += "SlurmUser=root\nSlurmdUser=root\nStateSaveLocation=" + folder + "/state\n";
  text += "SlurmdSpoolDir=" + folder + "/spool-%h\nSlurmctldPidFile=" + folder + "/slurmctld.pid\n";
  text += "SlurmdPidFile=" + folder + "/slurmd-%h.pid\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n";
  text += "SelectType=select/cons_tres\nAccountingStorageType=accounting_storage/none\n";
  text += "JobAcctGatherType=jobacct_gather/"
          "none\nReturnToService=2\nMpiDefault=none\nKillWait=30\nSchedulerParameters=bf_interval=2\n";
  text += "NodeName=mill-a NodeAddr=" + std::string(two_hosts::near_address) + " CPUs=2\n";
  text += "NodeName=mill-b NodeAddr=" + std::string(two_hosts::far_address) + " CPUs=2\n";
  return text + "PartitionName=all Nodes=mill-a,mill-b Default=YES State=UP MaxTime=INFINITE\n";
}

bool is_installed(const std::string& name) {
  for (const char* folder : {"/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"})
    if (std::filesystem::exists(folder + name))
      return true;
  return false;
}

} // namespace

slurm_cluster::slurm_cluster() {
  const auto place = folder_.path().string();
  write_file(folder_ / "munge.key", std::string(64, 'k'));
  for (const auto& [name, mode] : {std::pair("munge.key", 0600), {"", 0755}})
    chmod((folder_ / name).c_str(), static_cast<mode_t>(mode));
  for (const char* name : {"state", "spool-mill-a", "spool-mill-b"})
    std::filesystem::create_directory(folder_ / name);
  write_file(folder_ / "slurm.conf", configuration(place));
  write_file(folder_ / "cgroup.conf", "CgroupPlugin=cgroup/v1\n"); // what no host here has: it is not used
  hosts_.name(first, second);
  daemons_.push_back(std::make_unique<running_command>(
      std::vector<std::string>{"/usr/sbin/munged", "--foreground", "--force", "--key-file=" + place + "/munge.key",
                               "--socket=" + place + "/munge.socket", "--pid-file=" + place + "/munged.pid",
                               "--log-file=" + place + "/munged.log", "--seed-file=" + place + "/munged.seed"}));
  if (!wait_until([&] { return std::filesystem::exists(folder_ / "munge.socket"); }, 10))
    throw std::runtime_error("munged does not come up");
  daemons_.push_back(std::make_unique<running_command>(daemon(first, {"/usr/sbin/slurmctld", "-D"})));
  daemons_.push_back(std::make_unique<running_command>(daemon(first, {"/usr/sbin/slurmd", "-D"})));
  daemons_.push_back(std::make_unique<running_command>(daemon(second, {"/usr/sbin/slurmd", "-D"})));
  const auto idle = [&] {
    running_command nodes(on_a({"/usr/bin/sinfo", "-h", "-N", "-o", "%T"}));
    return nodes.wait(10).status == 0 && nodes.out() == "idle\nidle\n";
  };
  if (!wait_until(idle, 30))
    throw std::runtime_error("Slurm's nodes do not become idle:\n" + daemons_[1]->err() + daemons_[2]->err());
}

slurm_cluster::~slurm_cluster() {
  for (const auto process : processes())
    kill(process, SIGKILL);
}

/// All but munged, which is of no host.
std::vector<pid_t> slurm_cluster::processes() const {
  std::vector<pid_t> found;
  for (const std::size_t daemon : {1U, 3U}) {
    const auto beside = processes_beside(daemons_[daemon]->pid());
    found.insert(found.end(), beside.begin(), beside.end());
  }
  return found;
}

std::size_t slurm_cluster::processes_called(const std::string& name) const {
  const auto all = processes();
  return static_cast<std::size_t>(std::ranges::count_if(
      all, [&](pid_t pid) { return read_file("/proc/" + std::to_string(pid) + "/comm") == name + '\n'; }));
}

std::vector<std::string> slurm_cluster::daemon(const std::string& host, const std::vector<std::string>& command) const {
  std::vector<std::string> words{"/usr/bin/unshare",
                                 "--uts",
                                 "/bin/sh",
                                 "-c",
                                 "hostname " + host + " && export SLURM_CONF=\"$0\" && exec \"$@\"",
                                 folder_.path().string() + "/slurm.conf"};
  words.insert(words.end(), command.begin(), command.end());
  return host == first ? hosts_.near(words) : hosts_.far(words);
}

std::vector<std::string> slurm_cluster::on_a(const std::vector<std::string>& command) const {
  return daemon(first, command);
}

std::string slurm_cluster::ask(const std::vector<std::string>& command) const {
  running_command asked(on_a(command));
  if (asked.wait(30).status != 0)
    throw std::runtime_error(command.front() + ": " + asked.err());
  return asked.out();
}

std::string slurm_cluster::field_of(const std::string& job, const std::string& name) const {
  const auto text = ' ' + ask({"/usr/bin/scontrol", "--oneliner", "show", "job", job});
  const auto at = text.find(' ' + name + '=');
  if (at == std::string::npos)
    return "";
  const auto begin = at + name.size() + 2;
  return text.substr(begin, text.find_first_of(" \n", begin) - begin);
}

std::string slurm_cluster::state_of(const std::string& job) const {
  return field_of(job, "JobState");
}

bool can_have_slurm() {
  for (const char* name : {"slurmctld", "slurmd", "sbatch", "munged", "unshare"})
    if (!is_installed(name)) {
      MESSAGE("SKIPPED: " << name
                          << " is not installed (apt-get install slurm-wlm munge), so nothing was run by Slurm");
      return false;
    }
  return can_have_two_hosts();
}

} // namespace millrace::tests
