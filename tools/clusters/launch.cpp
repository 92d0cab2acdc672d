#include "runtime/access/key.hpp"
#include "runtime/cluster/child_process.hpp"
#include "runtime/cluster/endpoint.hpp"
#include "runtime/cluster/host_list.hpp"
#include "runtime/pipeline/stages.hpp"
#include "runtime/run_files/run_folder.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/clusters/cluster_job.hpp"
#include "tools/clusters/conducted_run.hpp"
#include "tools/clusters/held_secret.hpp"
#include "tools/command.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

namespace millrace::tools {
namespace {

constexpr int stopped_before_start = 3;

struct launch_arguments {
  pipeline_arguments pipeline;
  std::string hosts;
  std::string output;
  std::string ssh = "ssh -o BatchMode=yes -o ConnectTimeout=10";
  std::string program;
  std::int64_t port = 7000;
};

/// A `millrace node` on each host, over ssh. They end with this object: a node ends when its stdin does.
class ssh_nodes {
public:
  ssh_nodes(const launch_arguments& given, const held_secret& secret)
      : children_([this](const cluster::child_exit& exit) { ended(exit); }) {
    for (const auto& host : cluster::hosts_in(given.hosts))
      nodes_.push_back(
          {.host = host,
           .where = cluster::parse_endpoint(cluster::text_of({host, static_cast<std::uint16_t>(given.port)}))});
    for (auto& node : nodes_)
      start(node, given, secret);
  }

  ~ssh_nodes() {
    for (const auto& node : nodes_)
      if (node.line >= 0)
        close(node.line);
    constexpr double patience_s = 10;
    if (!children_.wait_all(patience_s))
      telemetry::log_warning("launch", "some nodes do not end");
  }

  ssh_nodes(const ssh_nodes&) = delete;
  ssh_nodes& operator=(const ssh_nodes&) = delete;

  std::vector<std::string> addresses() const {
    std::vector<std::string> found;
    for (const auto& node : nodes_)
      found.push_back(cluster::text_of(node.where));
    return found;
  }

  /// Waits until every node listens. @returns false if the end was asked for before
  /// @throws input_error naming the first host whose node does not
  bool await(const stop_request& stop) {
    constexpr auto patience = std::chrono::seconds(30);
    const auto deadline = std::chrono::steady_clock::now() + patience;
    for (const auto& node : nodes_)
      while (!stop.asked()) {
        if (const auto how = end_of(node); !how.empty())
          throw input_error("host " + node.host + ": its node has not started (" + how + ")");
        if (cluster::reachable(node.where, 1))
          break;
        if (std::chrono::steady_clock::now() > deadline)
          throw input_error("host " + node.host + ": nobody listens at " + cluster::text_of(node.where) + " after "
                            + std::to_string(patience.count()) + " s");
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
    return !stop.asked();
  }

private:
  struct ssh_node {
    std::string host;
    cluster::endpoint where;
    pid_t pid = 0; ///< of its ssh
    int line = -1; ///< to its stdin
  };

  void start(ssh_node& to, const launch_arguments& given, const held_secret& secret) {
    int line[2];
    if (pipe2(line, O_CLOEXEC) != 0)
      throw input_error(std::string("cannot make a pipe: ") + std::strerror(errno));
    to.line = line[1];
    // A shell splits the words of --ssh; the remote one reads the rest.
    const auto remote = shell_word(given.program) + " node --listen " + cluster::text_of(to.where) + " --secret-file -";
    const std::lock_guard lock(mutex_);
    to.pid = children_.start({.arguments = {"-c", "exec " + given.ssh + " \"$@\"", "sh", to.host, remote},
                              .program = "/bin/sh",
                              .input = line[0]});
    close(line[0]);
    const auto words = secret.text() + '\n';
    if (write(to.line, words.data(), words.size()) != static_cast<ssize_t>(words.size()))
      throw input_error("host " + to.host + ": ssh does not take the secret");
  }

  void ended(const cluster::child_exit& exit) {
    const std::lock_guard lock(mutex_);
    ends_[exit.pid] = exit.how;
  }

  std::string end_of(const ssh_node& of) {
    const std::lock_guard lock(mutex_);
    const auto found = ends_.find(of.pid);
    return found == ends_.end() ? "" : "ssh: " + found->second;
  }

  std::vector<ssh_node> nodes_;
  std::mutex mutex_;
  std::map<pid_t, std::string> ends_;
  cluster::child_processes children_; ///< last: its watcher uses the rest
};

int launch(launch_arguments given) {
  const auto hosts = static_cast<std::int64_t>(cluster::hosts_in(given.hosts).size());
  const auto job = job_of(given.pipeline, hosts + 1);
  if (given.program.empty())
    given.program = own_program().string();
  if (given.output.empty())
    given.output = run_files::default_run_path("runs", job.name, run_files::today()).string();
  std::signal(SIGPIPE, SIG_IGN); // a node that is gone is said in words
  const stop_request stop;
  const held_secret secret(access::hex(access::random_key()));
  ssh_nodes nodes(given, secret);
  if (!nodes.await(stop))
    return stopped_before_start;
  return conduct({.files = given.pipeline.files,
                  .overrides = given.pipeline.overrides,
                  .output = given.output,
                  .nodes = nodes.addresses(),
                  .secret_file = secret.path()},
                 stop);
}

} // namespace

command launch_command() {
  const auto given = std::make_shared<launch_arguments>();
  return {.name = "launch",
          .help = "Runs a pipeline here and on other hosts, whose nodes it starts over ssh",
          .footer =
              R"(Roles with  placement.ROLE.hosts = "any"  live on this host and on those of --hosts.
Their secret is drawn for this launch and goes to them over ssh's stdin.
When the run ends, or this command does, so do the nodes.
A folder of --output that holds a run already is gone on with.
    millrace launch recipe.toml --hosts gpu[1-4] --output /shared/run
Exit status: that of the run.)",
          .arguments = {given->pipeline.file(),
                        given->pipeline.set(),
                        {.name = "--hosts",
                         .to = &given->hosts,
                         .help = "The other hosts, as ssh knows them: a,gpu[1-3]",
                         .required = true},
                        {.name = "--output",
                         .to = &given->output,
                         .help = "Folder for the run's files; default runs/NAME-DATE-N"},
                        {.name = "--port",
                         .to = &given->port,
                         .help = "At which the nodes listen",
                         .shows_default = true,
                         .between = {{1, 65535}}},
                        {.name = "--program",
                         .to = &given->program,
                         .help = "Path of millrace on the hosts; default: that of this program"},
                        {.name = "--ssh",
                         .to = &given->ssh,
                         .help = "The command that is given a host and a command line for it",
                         .shows_default = true}},
          .run = [given] { return launch(*given); }};
}

} // namespace millrace::tools
