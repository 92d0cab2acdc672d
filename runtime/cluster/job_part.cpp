#include "runtime/cluster/job_part.hpp"

#include "runtime/cluster/endpoint.hpp"
#include "runtime/cluster/host_list.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <charconv>

namespace millrace::cluster {
namespace {

/// How a process finds its part. A process is started by the launcher whose `rank` and `sign` are set.
struct launcher {
  const char* name;
  const char* sign;  ///< set in a process that it starts, and not around it
  const char* rank;  ///< from 0
  const char* count; ///< processes; "": not told
  const char* hosts; ///< as `hosts_in` reads it
  const char* own;   ///< name of this host as `hosts` has it; "": not told
  const char* job;   ///< a number that differs between jobs of one host; "": a host has one job
};

// SLURM_PROCID is set in a batch script too; SLURM_STEP_ID is not.
constexpr launcher launchers[] = {
    {"Slurm", "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NODELIST", "SLURMD_NODENAME",
     "SLURM_JOB_ID"},
    {"Kubernetes", "JOB_COMPLETION_INDEX", "JOB_COMPLETION_INDEX", "", hosts_variable, "", ""},
    {"torchrun", "RANK", "RANK", "WORLD_SIZE", hosts_variable, "", ""},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", hosts_variable, "", ""},
    {"by hand", rank_variable, rank_variable, "", hosts_variable, "", ""},
};

constexpr std::uint16_t usual_port = 7000, first_job_port = 20000, job_ports = 10000;

/// Reads what one launcher says.
class told_part {
public:
  told_part(const launcher& by, const environment& variables) : by_(by), variables_(variables) {}

  job_part read() const {
    job_part part{.launcher = by_.name, .rank = number(by_.rank), .hosts = hosts(), .port = port()};
    const auto there = static_cast<std::int64_t>(part.hosts.size());
    const auto told_hosts = said(by_.hosts) + ", " + std::to_string(there) + (there == 1 ? " host" : " hosts");
    if (*by_.count && number(by_.count) != there)
      throw input_error(said(by_.count) + " and " + told_hosts + ": want one process a host");
    if (part.rank >= there)
      throw input_error(said(by_.rank) + " and " + told_hosts + ": want a rank below their number");
    const char* own = *by_.own ? variables_(by_.own) : nullptr;
    if (own && part.hosts[static_cast<std::size_t>(part.rank)] != own)
      throw input_error(said(by_.own) + " and " + said(by_.rank) + ": " + said(by_.hosts) + " has "
                        + formats::in_quotes(part.hosts[static_cast<std::size_t>(part.rank)]) + " there");
    return part;
  }

private:
  std::string value(const char* variable) const {
    const char* text = variables_(variable);
    if (!text || !*text)
      throw input_error(
          std::string(by_.name) + " started this process (" + said(by_.sign) + ") and " + variable + " is not set"
          + (variable == std::string(hosts_variable) ? ", want the job's hosts by rank, such as a,b" : ""));
    return text;
  }

  std::string said(const char* variable) const {
    const char* text = variables_(variable);
    return std::string(variable) + "=" + formats::printable(text ? text : "");
  }

  std::int64_t number(const char* variable) const {
    const auto text = value(variable);
    std::int64_t read = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read);
    if (error != std::errc() || end != text.data() + text.size() || read < 0)
      throw input_error(said(variable) + ": want a number from 0");
    return read;
  }

  std::vector<std::string> hosts() const {
    const auto list = value(by_.hosts);
    try {
      return hosts_in(list);
    } catch (const input_error& error) {
      throw input_error(std::string(by_.hosts) + ": " + error.what());
    }
  }

  std::uint16_t port() const {
    if (!*by_.job)
      return usual_port;
    return static_cast<std::uint16_t>(first_job_port + number(by_.job) % job_ports);
  }

  const launcher& by_;
  const environment& variables_;
};

} // namespace

std::optional<job_part> part_of_job(const environment& variables) {
  std::optional<job_part> found;
  for (const auto& by : launchers) {
    if (!variables(by.sign))
      continue;
    auto part = told_part(by, variables).read();
    if (!found)
      found = std::move(part);
    else if (part.rank != found->rank || part.hosts != found->hosts)
      throw input_error(found->launcher + " makes this process " + std::to_string(found->rank) + " of "
                        + std::to_string(found->hosts.size()) + ", " + part.launcher + " makes it "
                        + std::to_string(part.rank) + " of " + std::to_string(part.hosts.size())
                        + ": want variables of one of them");
  }
  return found;
}

std::string listen_address_of(const job_part& part) {
  const auto at = [&](std::size_t rank) { return parse_endpoint(text_of({part.hosts[rank], part.port})); };
  auto own = at(static_cast<std::size_t>(part.rank));
  const auto loopback = [](const endpoint& where) {
    return where.address.starts_with("127.") || where.address == "::1";
  };
  if (loopback(own) && !loopback(at(0)))
    own.address = address_towards(at(0).address);
  return text_of(own);
}

std::vector<std::string> nodes_of(const job_part& part) {
  std::vector<std::string> nodes;
  for (std::size_t rank = 1; rank < part.hosts.size(); ++rank)
    nodes.push_back(text_of({part.hosts[rank], part.port}));
  return nodes;
}

} // namespace millrace::cluster
