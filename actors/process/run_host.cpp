#include "actors/process/run_host.hpp"

#include "actors/coordinator/coordinator.hpp"
#include "actors/process/model_check.hpp"
#include "actors/process/process_agent.hpp"
#include "actors/process/worker_host.hpp"
#include "actors/protocol/system.hpp"
#include "actors/protocol/wire_bytes.hpp"
#include "actors/roles/source_actor.hpp"
#include "runtime/access/key.hpp"
#include "runtime/access/socket_calls.hpp"
#include "runtime/cluster/child_process.hpp"
#include "runtime/cluster/credentials.hpp"
#include "runtime/cluster/descriptors.hpp"
#include "runtime/cluster/endpoint.hpp"
#include "runtime/cluster/gpus.hpp"
#include "runtime/cluster/grace.hpp"
#include "runtime/cluster/signals.hpp"
#include "runtime/pipeline/located.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/run_files/checkpoint_store.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/telemetry/progress.hpp"
#include "runtime/telemetry/run_status.hpp"
#include "runtime/words/input_error.hpp"
#include "runtime/words/milliseconds.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <future>
#include <set>
#include <thread>
#include <utility>

namespace millrace::actors {
namespace {

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
  /// @param door the key of the port where the children join
  placed_children(const cluster::actor_options& liveness, const access::key256& door)
      : liveness_(liveness), door_(door), children_([this](const cluster::child_exit& exit) { ended(exit); }) {}

  void report_to(std::optional<handle<decides>> coordinator) {
    const std::lock_guard lock(mutex_);
    coordinator_ = std::move(coordinator);
  }

  std::int64_t start(const supervision::placed_process& placed, const std::string& token, std::uint16_t port) {
    std::map<std::string, std::string> environment{{token_variable, token}, {key_variable, access::hex(door_)}};
    if (placed.gpu)
      environment[cluster::gpus_variable] = gpu_of_host(*placed.gpu);
    const std::lock_guard lock(mutex_);
    const auto pid = children_.start({.arguments = worker_arguments({.coordinator_host = "127.0.0.1",
                                                                     .coordinator_port = port,
                                                                     .role = placed.role,
                                                                     .host = "",
                                                                     .heartbeat_ms = liveness_.heartbeat_ms,
                                                                     .peer_timeout_ms = liveness_.peer_timeout_ms}),
                                      .environment = environment});
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
  access::key256 door_;
  std::mutex mutex_;
  std::map<std::int64_t, role_instance> roles_;
  std::optional<handle<decides>> coordinator_;
  cluster::child_processes children_; ///< last: its watcher uses the rest
};

/// Why nobody can be reached at a node of the placement, or nothing. A cluster may know its name later than its run.
std::optional<std::string> unreachable(const std::string& host) {
  try {
    if (cluster::reachable(cluster::parse_endpoint(host), 3))
      return std::nullopt;
    return "node " + host + ": nobody listens there; start `millrace node --listen " + host
           + " --secret-file FILE` on that host";
  } catch (const input_error& error) {
    return "node " + std::string(error.what());
  }
}

/// Waits until somebody listens at a node of the placement. @throws input_error after `patience_s`
void await_node(const std::string& host, double patience_s) {
  const double start_s = telemetry::now_s();
  bool said = false;
  while (const auto why = unreachable(host)) {
    if (telemetry::now_s() - start_s >= patience_s)
      throw input_error(*why);
    if (!std::exchange(said, true))
      telemetry::log_info("run", "waiting for node " + host + ", up to " + telemetry::in_time(patience_s)
                                     + " (placement.connect_timeout_s)");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

/// Connects to a node that listens. @throws input_error when it is not there or refuses
handle<starts_processes> connect_node(actor_system& system, const std::string& host) {
  await_node(host, 0);
  const auto where = cluster::parse_endpoint(host);
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

/// Signals to stop, told to the coordinator from the moment that there is one. A second Ctrl-C ends the program.
class stop_line {
public:
  stop_line() : signals_([this](const char* name, int interrupts) { asked(name, interrupts); }) {}

  void connect(const handle<decides>& coordinator) {
    const std::lock_guard lock(mutex_);
    coordinator_ = coordinator;
    if (asked_ != nullptr)
      tell(coordinator, stop_run{asked_});
  }

  void disconnect() {
    const std::lock_guard lock(mutex_);
    coordinator_.reset();
  }

private:
  void asked(const char* name, int interrupts) {
    if (interrupts > 1)
      _exit(130);
    const std::lock_guard lock(mutex_);
    asked_ = name;
    if (coordinator_)
      tell(*coordinator_, stop_run{name});
  }

  std::mutex mutex_;
  const char* asked_ = nullptr; ///< the last signal's name
  std::optional<handle<decides>> coordinator_;
  cluster::stop_signals signals_; ///< last: its thread uses the rest
};

/// What the coordinator needs of the run's files. @throws input_error
coordinator_config config_of(const pipeline::pipeline& p, const run_files::run_folder& folder, run_start start) {
  coordinator_config config;
  config.pipeline = std::make_shared<const pipeline::pipeline>(p);
  config.resolved = pipeline::resolved_toml(p);
  config.checkpoint = start.checkpoint.string();
  config.scheduler = std::move(start.scheduler);
  config.position = start.position;
  if (config.position && start.data == run_files::changed_data::accepted)
    for (auto& source : config.position->sources)
      source.rows = 0; // of whatever file is there now
  config.within_step = std::move(start.within_step);
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
  options.key = access::random_key();
  options.transport = transport::wire_from(config.pipeline->placement.transport);
  options.encrypt = config.pipeline->placement.encrypt;
  options.bind = config.bind;
  options.ports = config.pipeline->placement.data_port_range();
  options.tell = [](const std::string& line) { telemetry::log_warning("data plane", line); };
  config.run_key = wire_bytes(options.key);
  config.data = std::make_shared<transport::data_plane>(options);
  return config.data;
}

/// @param door the key of the port where processes of this host join
cluster::actor_options liveness_of(const pipeline::pipeline& p, const std::optional<cluster::credentials>& secret,
                                   const access::key256& door) {
  cluster::actor_options options;
  options.keys = {door};
  options.heartbeat_ms = static_cast<std::uint32_t>(p.run.heartbeat_ms);
  options.peer_timeout_ms = static_cast<std::uint32_t>(p.run.peer_timeout_ms);
  if (secret) {
    options.tls = secret->files();
    options.keys.insert(options.keys.begin(), secret->connection_key()); // shown to nodes
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

std::uint16_t listen(actor_system& system, const handle<decides>& coordinator, const cluster::endpoint& where,
                     encryption how) {
  try {
    return system.publish(coordinator, where, how);
  } catch (const std::exception& error) {
    throw input_error("cannot listen on " + cluster::text_of(where) + " for the run's processes: " + error.what());
  }
}

/// How the run ended, told once: by the coordinator, or by whoever sees that it is gone.
class awaited_end {
public:
  void tell(run_outcome outcome) {
    if (!told_.exchange(true))
      end_.set_value(std::move(outcome));
  }

  run_outcome wait() { return end_.get_future().get(); }

private:
  std::atomic<bool> told_ = false;
  std::promise<run_outcome> end_;
};

/// Sees that the coordinator is gone without a word: an exception or a message has ended it.
actor::setup witness(handle<decides> coordinator, std::shared_ptr<awaited_end> end) {
  return [coordinator = std::move(coordinator), end = std::move(end)](actor& self, inbox&) {
    self.watch(coordinator, [&self, end] {
      end->tell({.ok = false, .line = "the run's coordinator ended without a word: this is a fault of Millrace"});
      self.quit();
    });
  };
}

/// Starts everything and waits for the end. @throws input_error for what is wrong before anything has started
run_outcome conduct(actor_system& system, placed_children& children, coordinator_config config, stop_line& stop,
                    const std::set<std::string>& hosts) {
  const auto p = config.pipeline;
  std::uint16_t local_port = 0;
  for (const auto& host : hosts)
    config.nodes.emplace(host, connect_node(system, host));
  if (!hosts.empty())
    check_models_of_hosts(system, *p, config.nodes, !config.checkpoint.empty());
  config.find_node = [&system](const std::string& host) { return connect_node(system, host); };
  config.start_process = [&](const supervision::placed_process& what, const std::string& token) {
    return children.start(what, token, local_port);
  };
  config.kill_process = [&](std::int64_t pid) { children.kill(pid); };
  const auto end = std::make_shared<awaited_end>();
  config.on_end = [end](run_outcome outcome) { end->tell(std::move(outcome)); };
  let_start(config, system);

  // The coordinator starts processes once they can find it.
  const auto outer_address = config.bind;
  const handle<decides> decider(system.start("coordinator", coordinator(std::move(config))));
  system.start("witness", witness(decider, end));
  children.report_to(decider);
  const auto placed = supervision::placed_processes(*p);
  if (std::any_of(placed.begin(), placed.end(), [](const auto& process) { return process.host.empty(); }))
    local_port = listen(system, decider, {"127.0.0.1", 0}, encryption::none);
  const std::uint16_t outer_port =
      hosts.empty() ? std::uint16_t{0}
                    : listen(system, decider, {outer_address, static_cast<std::uint16_t>(p->placement.port)},
                             encryption::mutual_tls);
  tell(decider, begin_run{outer_port});
  stop.connect(decider);
  auto outcome = end->wait();
  stop.disconnect();
  children.wait(3);
  children.report_to({});
  return outcome;
}

/// The last words, on the terminal, in log.txt and in status.json.
void say_why(const pipeline::pipeline& p, const run_files::run_folder& folder, const std::string& line) {
  telemetry::process_log().note(telemetry::level::error, "run", line);
  try {
    telemetry::write_failure(folder.status(), p.run.name, line);
  } catch (const run_files::storage_error& error) {
    telemetry::log_warning("run", error.what());
  }
}

/// What a run has from its first session to its last.
struct whole_run {
  const pipeline::pipeline& p;
  run_files::run_folder& folder;
  stop_line& stop;
  std::optional<cluster::credentials> secret;
  std::shared_ptr<supervision::learner_deaths> deaths = std::make_shared<supervision::learner_deaths>();
};

void say_why_and_show(const whole_run& run, const std::string& line) {
  say_why(run.p, run.folder, line);
  telemetry::process_log().say("millrace: " + line);
}

struct session_end {
  int status = 0;                 ///< of the program, if this was the last session
  std::optional<resumption> next; ///< how the run goes on
};

/// Whether another session follows. @param step where this one began
std::optional<resumption> next_after(const run_outcome& outcome, const whole_run& run, std::int64_t step,
                                     run_files::changed_data data) {
  // A checkpoint of a later step than the run came to is of a past that `resume --before` has left.
  if (outcome.goes_on)
    return resumption{.data = data,
                      .before = std::int64_t{outcome.step} + 1,
                      .after = lost_learner{.line = outcome.line, .steps = outcome.step}};
  if (!outcome.at_start || !run_files::latest_checkpoint(run.folder.checkpoints(), {}, step))
    return {};
  telemetry::log_warning("run", "the checkpoint of step " + std::to_string(step)
                                    + " does not load, so the run goes on from the one before it: " + outcome.line);
  return resumption{.data = data, .before = step};
}

/// What is left of a session ends within this: after the last one nothing matters any more, but before another one an
/// embedded role may have to end its work.
std::chrono::milliseconds grace_of(const session_end& end, const pipeline::pipeline& p) {
  return end.next ? milliseconds_of(10 * p.run.stall_after_s) : std::chrono::milliseconds(cluster::parting_grace);
}

/// Closes a data plane when it goes itself: the last of the roles may be let go of on the data plane's own thread,
/// which must not be the last to hold it.
struct closing_data {
  transport::data_plane& data;

  ~closing_data() { data.close(); }
};

/// From its end on every way out is said at once and ends within the grace: the destructors of CAF and UCX may wait for
/// connections that nobody answers.
session_end run_session(const whole_run& run, run_start start) {
  const auto data_taken = start.data;
  const std::int64_t first_step = start.scheduler->at().step;
  const bool from_checkpoint = !start.checkpoint.empty();
  auto config = config_of(run.p, run.folder, std::move(start));
  config.deaths = run.deaths;
  cluster::grace_period grace; // first: the others are gone when it ends
  const auto hosts = hosts_of(run.p);
  for (const auto& host : hosts)
    await_node(host, run.p.placement.connect_timeout_s);
  const auto data = data_plane_for(config, hosts);
  const closing_data when_all_is_gone{*data};
  const auto door = access::random_key();
  const auto liveness = liveness_of(run.p, run.secret, door);
  access::tell_refusals([](const std::string& line) { telemetry::log_warning("ports", line); });
  actor_system system(liveness);
  placed_children children(liveness, door);
  run_outcome outcome;
  session_end end;
  try {
    outcome = conduct(system, children, std::move(config), run.stop, hosts);
    if (outcome.goes_on || from_checkpoint)
      end.next = next_after(outcome, run, first_step, data_taken);
  } catch (const std::exception& error) {
    outcome = {.ok = false, .line = error.what()};
  }
  if (!outcome.ok && !end.next)
    say_why_and_show(run, outcome.line);
  end.status = !outcome.ok ? failed_status : outcome.stopped ? stopped_status : 0;
  grace.begin(grace_of(end, run.p), end.status, [&run, goes_on = end.next.has_value()] {
    if (goes_on)
      say_why_and_show(run, "what is left of the run does not end: `millrace resume` goes on from the last checkpoint");
  });
  return end;
}

} // namespace

int run_pipeline(const pipeline::pipeline& p, run_files::run_folder& folder, run_start start) {
  cluster::survive_refused_writes();
  cluster::raise_descriptor_limit();
  stop_line stop; // before all other threads: they leave the signals to it
  telemetry::process_log().open(folder.log());
  for (const auto& warning : pipeline::schedule_warnings(p))
    telemetry::log_warning("run", warning);
  try {
    pipeline::located(p, "placement.transport",
                      [&] { transport::check_wire(transport::wire_from(p.placement.transport)); });
    supervision::check_gpus(p, cluster::visible_gpus().size());
    whole_run run{.p = p, .folder = folder, .stop = stop, .secret = {}};
    if (!hosts_of(p).empty())
      run.secret.emplace(pipeline::located(p, "placement.secret_file",
                                           [&] { return cluster::root_of_file(p.placement.secret_file); }));
    for (;;) {
      run_files::hold_data(folder, data_files_of(p), start.data);
      const auto end = run_session(run, std::move(start));
      if (!end.next)
        return end.status;
      folder.begin_session();
      start = newest_start(p, folder, *end.next);
    }
  } catch (const std::exception& error) {
    say_why(p, folder, error.what());
    throw;
  }
}

int run_new(const pipeline::pipeline& p, run_files::run_folder folder) {
  const auto path = folder.path();
  run_files::replace_file(folder.resolved(), pipeline::resolved_toml(p), run_files::survives::power_cut);
  try {
    const int status = run_pipeline(p, folder, first_start(p));
    if (status == failed_status)
      run_files::forget_unstarted_run(path);
    return status;
  } catch (const std::exception&) {
    run_files::forget_unstarted_run(path);
    throw;
  }
}

} // namespace millrace::actors
