#include "actors/process/run_host.hpp"

#include "actors/coordinator/coordinator.hpp"
#include "actors/process/process_agent.hpp"
#include "actors/process/worker_host.hpp"
#include "actors/protocol/system.hpp"
#include "actors/protocol/wire_bytes.hpp"
#include "actors/roles/source_actor.hpp"
#include "runtime/cluster/child_process.hpp"
#include "runtime/cluster/credentials.hpp"
#include "runtime/cluster/endpoint.hpp"
#include "runtime/cluster/signals.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/input_error.hpp"
#include "runtime/words/run_failed.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <future>
#include <set>
#include <sstream>

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
  for (const auto& placed : supervision::placed_processes(p))
    if (!placed.host.empty())
      hosts.insert(placed.host);
  return hosts;
}

/// The children of this run and what each is for; shared with the watcher's thread.
class placed_children {
public:
  explicit placed_children(const cluster::actor_options& liveness)
      : liveness_(liveness), children_([this](const cluster::child_exit& exit) { ended(exit); }) {}

  void report_to(std::optional<handle<decides>> coordinator) {
    const std::lock_guard lock(mutex_);
    coordinator_ = std::move(coordinator);
  }

  std::int64_t start(const supervision::placed_process& placed, const std::string& token, std::uint16_t port) {
    const std::lock_guard lock(mutex_);
    const auto pid = children_.start(worker_arguments({.coordinator_host = "127.0.0.1",
                                                       .coordinator_port = port,
                                                       .role = placed.role,
                                                       .secret_file = "",
                                                       .host = "",
                                                       .heartbeat_ms = liveness_.heartbeat_ms,
                                                       .peer_timeout_ms = liveness_.peer_timeout_ms}),
                                     {{token_variable, token}});
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
      tell(*coordinator_, process_ended{.pid = exit.pid, .host = "", .role = role.mapped(), .how = exit.how});
  }

  cluster::actor_options liveness_;
  std::mutex mutex_;
  std::map<std::int64_t, role_instance> roles_;
  std::optional<handle<decides>> coordinator_;
  cluster::child_processes children_; ///< last: its watcher uses the rest
};

/// Connects to a node of the placement. @throws input_error when it is not there or refuses
handle<starts_processes> connect_node(actor_system& system, const std::string& host) {
  const auto where = cluster::parse_endpoint(host);
  if (!cluster::reachable(where, 3))
    throw input_error("node " + host + ": nobody listens there; start `millrace node --listen " + host
                      + " --secret-file FILE` on that host");
  for (int attempt = 1;; ++attempt) {
    const auto found = system.find(where, encryption::mutual_tls);
    if (found.who)
      return handle<starts_processes>(found.who);
    if (!found.too_slow)
      throw input_error("node " + host + ": refused the connection; do both sides hold the same secret? (" + found.why
                        + ")");
    if (attempt == 3)
      throw input_error("node " + host + " accepts connections and does not answer");
  }
}

/// Ctrl-C and SIGTERM, told to the coordinator from the moment that there is one. A second signal ends the program.
class stop_line {
public:
  stop_line() : signals_([this](const char* name, int count) { asked(name, count); }) {}

  void connect(const handle<decides>& coordinator) {
    const std::lock_guard lock(mutex_);
    coordinator_ = coordinator;
    if (asked_)
      tell(coordinator, stop_run{"Ctrl-C"});
  }

  void disconnect() {
    const std::lock_guard lock(mutex_);
    coordinator_.reset();
  }

private:
  void asked(const char* name, int count) {
    if (count > 1)
      _exit(130);
    const std::lock_guard lock(mutex_);
    asked_ = true;
    if (coordinator_)
      tell(*coordinator_, stop_run{name});
  }

  std::mutex mutex_;
  bool asked_ = false;
  std::optional<handle<decides>> coordinator_;
  cluster::stop_signals signals_; ///< last: its thread uses the rest
};

/// What the coordinator needs of the run's files. @throws input_error
coordinator_config config_of(const pipeline::pipeline& p, const run_files::run_folder& folder,
                             const std::filesystem::path& checkpoint) {
  coordinator_config config;
  config.pipeline = std::make_shared<const pipeline::pipeline>(p);
  config.resolved = pipeline::resolved_toml(p);
  config.checkpoint = checkpoint.string();
  config.scheduler = std::make_shared<schedule::scheduler>(
      checkpoint.empty()
          ? schedule::scheduler(pipeline::schedule_of(p))
          : schedule::scheduler::restore(pipeline::schedule_of(p), read_text(checkpoint / "scheduler.txt")));
  if (!checkpoint.empty())
    config.position = read_position(checkpoint);
  if (config.scheduler->at().part > 0)
    config.within_step = supervision::step_figures(read_text(checkpoint / "step.json"));
  config.record = std::make_shared<run_record>(p, folder, config.scheduler->at().step, config.scheduler->at().part);
  config.checkpoints =
      std::make_shared<run_files::checkpoint_store>(folder.checkpoints(), static_cast<int>(p.run.checkpoints_kept));
  return config;
}

/// The data plane of the run's own process. Fills in what the others need to know of it.
std::shared_ptr<transport::data_plane> data_plane_for(coordinator_config& config, const std::set<std::string>& hosts) {
  if (!hosts.empty())
    config.bind = cluster::address_towards(cluster::parse_endpoint(*hosts.begin()).address);
  transport::data_plane_options options;
  options.node = own_node;
  options.key = cluster::random_key();
  options.transport = transport::wire_from(config.pipeline->placement.transport);
  options.bind = config.bind;
  config.run_key = wire_bytes(options.key);
  config.data = std::make_shared<transport::data_plane>(options);
  return config.data;
}

cluster::actor_options liveness_of(const pipeline::pipeline& p, const std::optional<cluster::credentials>& secret) {
  cluster::actor_options options;
  options.heartbeat_ms = static_cast<std::uint32_t>(p.run.heartbeat_ms);
  options.peer_timeout_ms = static_cast<std::uint32_t>(p.run.peer_timeout_ms);
  if (secret) {
    options.tls = secret->files();
    // A node serves many runs and uses the default heartbeat. So this run sends heartbeats at least that often and
    // waits at least that long.
    options.heartbeat_ms = std::min(options.heartbeat_ms, cluster::actor_options{}.heartbeat_ms);
    options.peer_timeout_ms = std::max(options.peer_timeout_ms, cluster::actor_options{}.peer_timeout_ms);
  }
  return options;
}

/// How the coordinator starts what lives beside it.
void let_start(coordinator_config& config, actor_system& system) {
  config.start_source = [p = config.pipeline, data = config.data](actor& beside, std::optional<source_position> from) {
    return handle<gives_prompts>(beside.start("source", source_actor(*p, data, std::move(from))));
  };
  config.start_agent = [p = config.pipeline, data = config.data,
                        start = system.how_to_start()](actor& beside, const handle<decides>& coordinator) {
    return handle<hosts_roles>(beside.start("process_agent", process_agent({.pipeline = p,
                                                                            .node = own_node,
                                                                            .data = data,
                                                                            .coordinator = coordinator,
                                                                            .start = start,
                                                                            .on_end = [](const std::string&) {}})));
  };
}

std::uint16_t listen(actor_system& system, const handle<decides>& coordinator, const std::string& address,
                     encryption how) {
  try {
    return system.publish(coordinator, {address, 0}, how);
  } catch (const std::exception& error) {
    throw input_error(std::string("cannot listen for the run's processes: ") + error.what());
  }
}

} // namespace

int run_pipeline(const pipeline::pipeline& p, run_files::run_folder folder, const std::filesystem::path& checkpoint) {
  stop_line stop; // before all other threads: they leave the signals to it
  telemetry::process_log().open(folder.log());
  for (const auto& warning : pipeline::schedule_warnings(p))
    telemetry::log_warning("run", warning);
  const auto hosts = hosts_of(p);
  std::optional<cluster::credentials> secret;
  if (!hosts.empty())
    secret.emplace(p.placement.secret_file);
  auto config = config_of(p, folder, checkpoint);
  const auto data = data_plane_for(config, hosts); // held here too: its own thread must not be the last to let it go
  const auto liveness = liveness_of(p, secret);
  actor_system system(liveness);

  placed_children children(liveness);
  std::uint16_t local_port = 0;
  for (const auto& host : hosts)
    config.nodes.emplace(host, connect_node(system, host));
  config.find_node = [&system](const std::string& host) { return connect_node(system, host); };
  config.start_process = [&](const supervision::placed_process& what, const std::string& token) {
    return children.start(what, token, local_port);
  };
  config.kill_process = [&](std::int64_t pid) { children.kill(pid); };
  std::promise<run_outcome> ended;
  config.on_end = [&](run_outcome outcome) { ended.set_value(std::move(outcome)); };
  let_start(config, system);

  // The coordinator starts processes once they can find it.
  const auto outer_address = config.bind;
  const handle<decides> decider(system.start("coordinator", coordinator(std::move(config))));
  children.report_to(decider);
  const auto placed = supervision::placed_processes(p);
  if (std::any_of(placed.begin(), placed.end(), [](const auto& process) { return process.host.empty(); }))
    local_port = listen(system, decider, "127.0.0.1", encryption::none);
  const std::uint16_t outer_port =
      hosts.empty() ? std::uint16_t{0} : listen(system, decider, outer_address, encryption::mutual_tls);
  tell(decider, begin_run{outer_port});
  stop.connect(decider);
  const auto outcome = ended.get_future().get();
  stop.disconnect();
  children.wait(3);
  children.report_to({});
  if (!outcome.ok)
    throw run_failed(outcome.line);
  return 0;
}

} // namespace millrace::actors
