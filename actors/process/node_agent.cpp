#include "actors/process/node_agent.hpp"

#include "actors/process/model_check.hpp"
#include "actors/process/worker_host.hpp"
#include "runtime/access/key.hpp"
#include "runtime/cluster/gpus.hpp"
#include "runtime/roles/job_thread.hpp"
#include "runtime/telemetry/log.hpp"

#include <algorithm>
#include <csignal>

namespace millrace::actors {

node_processes::node_processes(const cluster::root_key& secret)
    : secret_(access::hex(secret.bytes)), children_([this](const cluster::child_exit& exit) { ended(exit); }) {
}

std::int64_t node_processes::start(const start_on_node& what) {
  std::map<std::string, std::string> environment{{token_variable, what.token}, {root_variable, secret_}};
  if (what.gpu >= 0)
    environment[cluster::gpus_variable] = gpu_of_host(static_cast<std::uint32_t>(what.gpu));
  const std::lock_guard lock(mutex_);
  const auto pid = children_.start({.arguments = worker_arguments({.coordinator_host = what.coordinator_host,
                                                                   .coordinator_port = what.coordinator_port,
                                                                   .role = what.role,
                                                                   .host = what.host,
                                                                   .heartbeat_ms = what.heartbeat_ms,
                                                                   .peer_timeout_ms = what.peer_timeout_ms}),
                                    .environment = environment});
  owners_[pid] = {.role = what.role, .host = what.host, .coordinator = what.coordinator};
  telemetry::log_info("node", "started " + what.role.name() + " as process " + std::to_string(pid));
  return pid;
}

void node_processes::kill(std::int64_t pid) {
  children_.signal(static_cast<pid_t>(pid), SIGKILL);
}

void node_processes::kill_all_of(const address& coordinator) {
  const std::lock_guard lock(mutex_);
  for (const auto& [pid, whose] : owners_)
    if (whose.coordinator == coordinator)
      children_.signal(static_cast<pid_t>(pid), SIGKILL);
}

void node_processes::ended(const cluster::child_exit& exit) {
  const std::lock_guard lock(mutex_);
  const auto whose = owners_.extract(exit.pid);
  if (!whose)
    return;
  telemetry::log_info("node",
                      whose.mapped().role.name() + " (process " + std::to_string(exit.pid) + ") ended: " + exit.how);
  tell(whose.mapped().coordinator,
       process_ended{.pid = exit.pid, .host = whose.mapped().host, .role = whose.mapped().role, .how = exit.how});
}

namespace {

/// What the agent of a node knows.
struct agent_of_node {
  node_agent_config config;
  std::vector<address> coordinators; ///< whose processes were started here, and who live
  bool ends_if_unused = false;

  void take(actor& self, const std::shared_ptr<agent_of_node>& me, const address& coordinator) {
    if (std::ranges::find(coordinators, coordinator) != coordinators.end())
      return;
    coordinators.push_back(coordinator);
    self.watch(coordinator, [&self, me, coordinator] {
      self.after(grace_after_coordinator, [me, coordinator] { me->config.processes->kill_all_of(coordinator); });
      std::erase(me->coordinators, coordinator);
      // Whoever has started the run may still say that it is over.
      self.after(grace_after_coordinator, [me] { me->end_if_unused(); });
    });
  }

  void end_if_unused() const {
    if (ends_if_unused && coordinators.empty())
      config.on_end(false);
  }
};

} // namespace

actor::setup node_agent(node_agent_config config) {
  return [config = std::move(config)](actor& self, inbox& in) {
    const auto state = std::make_shared<agent_of_node>(agent_of_node{.config = config, .coordinators = {}});
    // A file system may be slow.
    in.on<check_models>(
        [reading = std::make_shared<roles::job_thread>()](const check_models& what, const reply<models_checked>& done) {
          reading->post([what, done] { done(models_of_this_host(what)); });
        });
    in.on<start_on_node>([&self, state](const start_on_node& what) {
      state->take(self, state, what.coordinator);
      return started_on_node{state->config.processes->start(what)};
    });
    in.on<kill_on_node>([state](const kill_on_node& what) { state->config.processes->kill(what.pid); });
    in.on<end_node>([state](const end_node& what) {
      state->ends_if_unused = true;
      if (what.if_unused)
        state->end_if_unused();
      else
        state->config.on_end(true);
      return node_ends{};
    });
  };
}

} // namespace millrace::actors
