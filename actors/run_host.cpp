#include "actors/run_host.hpp"

#include "actors/coordinator_shell.hpp"
#include "actors/errors.hpp"
#include "actors/message_types.hpp"
#include "actors/node_agent.hpp"
#include "actors/wire_bytes.hpp"
#include "actors/worker_host.hpp"
#include "runtime/cluster/actor_config.hpp"
#include "runtime/cluster/child_process.hpp"
#include "runtime/cluster/credentials.hpp"
#include "runtime/cluster/endpoint.hpp"
#include "runtime/cluster/signals.hpp"
#include "runtime/input_error.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/telemetry/log.hpp"

#include <caf/io/middleman.hpp>
#include <caf/openssl/all.hpp>
#include <caf/scoped_actor.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <future>
#include <set>
#include <sstream>
#include <unistd.h>

namespace millrace::actors {
namespace {

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!(text << file.rdbuf()))
    throw input_error(path.string() + ": cannot be read");
  return text.str();
}

/// Where the data went on when the checkpoint was made.
source_position read_position(const std::filesystem::path& checkpoint) {
  const auto path = checkpoint / "source.txt";
  std::istringstream text(read_text(path));
  source_position position;
  if (!(text >> position.index >> position.epoch >> position.next >> position.rows))
    throw input_error(path.string() + ": damaged, want four numbers");
  return position;
}

/// The hosts that the placement names, once each.
std::set<std::string> hosts_of(const pipeline::pipeline& p) {
  std::set<std::string> hosts;
  for (const auto& placed : placed_processes(p))
    if (!placed.host.empty())
      hosts.insert(placed.host);
  return hosts;
}

/// The children of this run and what each is for; shared with the watcher's thread.
class placed_children {
public:
  explicit placed_children(const cluster::actor_options& liveness)
      : liveness_(liveness), children_([this](const cluster::child_exit& exit) { ended(exit); }) {}

  void report_to(std::optional<coordinator_actor> coordinator) {
    const std::lock_guard lock(mutex_);
    coordinator_ = std::move(coordinator);
  }

  std::int64_t start(const placed_process& placed, const std::string& token, std::uint16_t port) {
    const std::lock_guard lock(mutex_);
    const auto pid = children_.start(worker_arguments({"127.0.0.1", port, placed.role, "", "", liveness_.heartbeat_ms, liveness_.peer_timeout_ms}), {{token_variable, token}});
    roles_[pid] = placed.role;
    return pid;
  }

  void kill(std::int64_t pid) { children_.signal(static_cast<pid_t>(pid), SIGKILL); }
  bool wait(double timeout_s) { return children_.wait_all(timeout_s); }

private:
  void ended(const cluster::child_exit& exit) {
    const std::lock_guard lock(mutex_);
    const auto role = roles_.extract(exit.pid);
    if (role && coordinator_)
      caf::anon_send(*coordinator_, process_ended{exit.pid, "", role.mapped(), exit.how});
  }

  cluster::actor_options liveness_;
  std::mutex mutex_;
  std::map<std::int64_t, role_instance> roles_;
  std::optional<coordinator_actor> coordinator_;
  cluster::child_processes children_; ///< last: its watcher uses the rest
};

/// Connects to a node of the placement. @throws input_error when it is not there or refuses
node_actor connect_node(caf::actor_system& system, const std::string& host) {
  const auto where = cluster::parse_endpoint(host);
  if (!cluster::reachable(where, 3))
    throw input_error("node " + host + ": nobody listens there; start `millrace node --listen " + host
                      + " --secret-file FILE` on that host");
  for (int attempt = 1;; ++attempt) {
    const auto node = caf::openssl::remote_actor<node_actor>(system, where.address, where.port);
    if (node)
      return *node;
    const bool slow = node.error() == caf::sec::connection_timeout;
    if (!slow)
      throw input_error("node " + host + ": refused the connection; do both sides hold the same secret? ("
                        + system.render(node.error()) + ")");
    if (attempt == 3)
      throw input_error("node " + host + ": takes connections and does not answer");
  }
}

void check_port(const caf::actor_system& system, const caf::expected<std::uint16_t>& port) {
  if (!port)
    throw input_error("cannot listen for the run's processes: " + system.render(port.error()));
}

} // namespace

int run_pipeline(const pipeline::pipeline& p, telemetry::run_folder folder, const std::filesystem::path& checkpoint) {
  // First of all threads: it takes the signals, and everything after it inherits that.
  std::atomic<bool> stop_asked{false};
  std::mutex stop_mutex;
  std::optional<coordinator_actor> stop_target;
  const cluster::stop_signals signals([&](const char* name, int count) {
    if (count > 1)
      _exit(130);
    const std::lock_guard lock(stop_mutex);
    stop_asked = true;
    if (stop_target)
      caf::anon_send(*stop_target, stop_run{name});
  });

  auto& log = telemetry::process_log();
  log.open(folder.log());
  for (const auto& warning : pipeline::schedule_warnings(p))
    telemetry::log_warning("run", warning);
  const auto hosts = hosts_of(p);
  const auto placed = placed_processes(p);
  std::optional<cluster::credentials> secret;
  if (!hosts.empty())
    secret.emplace(p.placement.secret_file);

  coordinator_config config;
  config.pipeline = std::make_shared<const pipeline::pipeline>(p);
  config.resolved = pipeline::resolved_toml(p);
  config.checkpoint = checkpoint.string();
  config.scheduler = std::make_shared<schedule::scheduler>(
      checkpoint.empty() ? schedule::scheduler(actors::schedule_of(p))
                         : schedule::scheduler::restore(actors::schedule_of(p), read_text(checkpoint / "scheduler.txt")));
  if (!checkpoint.empty())
    config.position = read_position(checkpoint);
  config.record = std::make_shared<run_record>(p, folder, config.scheduler->at().step);
  config.checkpoints = std::make_shared<telemetry::checkpoint_store>(folder.checkpoints(),
                                                                     static_cast<int>(p.run.checkpoints_kept));
  const auto bind = hosts.empty() ? std::string() : cluster::address_towards(cluster::parse_endpoint(*hosts.begin()).address);
  config.bind = bind;

  transport::data_plane_options data_options;
  data_options.node = 1;
  data_options.key = cluster::random_key();
  data_options.transport = transport::wire_from(p.placement.transport);
  data_options.bind = config.bind;
  const auto data = std::make_shared<transport::data_plane>(data_options);
  config.data = data; // held here as well: its own thread, where callbacks end, must not be the last to let go of it
  config.run_key = wire_bytes(data_options.key);

  cluster::actor_options options;
  options.heartbeat_ms = static_cast<std::uint32_t>(p.run.heartbeat_ms);
  options.peer_timeout_ms = static_cast<std::uint32_t>(p.run.peer_timeout_ms);
  if (secret) {
    options.tls = secret->files();
    // A node keeps to the defaults, since it serves many runs: beat as often as it wants, and wait as long as it needs.
    options.heartbeat_ms = std::min(options.heartbeat_ms, cluster::actor_options{}.heartbeat_ms);
    options.peer_timeout_ms = std::max(options.peer_timeout_ms, cluster::actor_options{}.peer_timeout_ms);
  }
  cluster::actor_config system_config(options);
  add_message_types(system_config);
  caf::actor_system system(system_config);

  placed_children children(options);
  std::uint16_t local_port = 0;
  for (const auto& host : hosts)
    config.nodes.emplace(host, connect_node(system, host));
  config.find_node = [&system](const std::string& host) { return connect_node(system, host); };
  config.start_process = [&](const placed_process& what, const std::string& token) {
    return children.start(what, token, local_port);
  };
  config.kill_process = [&](std::int64_t pid) { children.kill(pid); };
  std::promise<run_outcome> ended;
  config.on_end = [&](run_outcome outcome) { ended.set_value(std::move(outcome)); };

  // The coordinator starts processes once it has been published: they must find it.
  const auto coordinator = caf::actor_cast<coordinator_actor>(system.spawn(make_coordinator, std::move(config)));
  children.report_to(coordinator);
  std::uint16_t outer_port = 0;
  if (std::any_of(placed.begin(), placed.end(), [](const auto& process) { return process.host.empty(); })) {
    const auto port = system.middleman().publish(coordinator, 0, "127.0.0.1");
    check_port(system, port);
    local_port = *port;
  }
  if (!hosts.empty()) {
    const auto port = caf::openssl::publish(coordinator, 0, bind.c_str());
    check_port(system, port);
    outer_port = *port;
  }
  {
    const std::lock_guard lock(stop_mutex);
    stop_target = coordinator;
    caf::anon_send(coordinator, begin_run{outer_port});
    if (stop_asked)
      caf::anon_send(coordinator, stop_run{"Ctrl-C"});
  }
  const auto outcome = ended.get_future().get();
  {
    const std::lock_guard lock(stop_mutex);
    stop_target.reset();
  }
  children.wait(3);
  children.report_to({});
  if (!outcome.ok)
    throw input_error(outcome.line);
  return 0;
}

} // namespace millrace::actors
