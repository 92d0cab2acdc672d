#include "actors/process/node_agent.hpp"

#include "actors/process/worker_host.hpp"
#include "runtime/telemetry/log.hpp"

#include <csignal>

namespace millrace::actors {

node_processes::node_processes(std::string secret_file)
    : secret_file_(std::move(secret_file)), children_([this](const cluster::child_exit& exit) { ended(exit); }) {
}

std::int64_t node_processes::start(const start_on_node& what) {
  const std::lock_guard lock(mutex_);
  const auto pid = children_.start(worker_arguments({.coordinator_host = what.coordinator_host,
                                                     .coordinator_port = what.coordinator_port,
                                                     .role = what.role,
                                                     .secret_file = secret_file_,
                                                     .host = what.host,
                                                     .heartbeat_ms = what.heartbeat_ms,
                                                     .peer_timeout_ms = what.peer_timeout_ms}),
                                   {{token_variable, what.token}});
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

actor::setup node_agent(std::shared_ptr<node_processes> processes) {
  return [processes = std::move(processes)](actor& self, inbox& in) {
    in.on<start_on_node>([&self, processes](const start_on_node& what) {
      self.watch(what.coordinator, [&self, processes, who = what.coordinator] {
        self.after(grace_after_coordinator, [processes, who] { processes->kill_all_of(who); });
      });
      return started_on_node{processes->start(what)};
    });
    in.on<kill_on_node>([processes](const kill_on_node& what) { processes->kill(what.pid); });
  };
}

} // namespace millrace::actors
