#include "actors/node_agent.hpp"

#include "actors/errors.hpp"
#include "actors/worker_host.hpp"
#include "runtime/telemetry/log.hpp"

#include <csignal>

namespace millrace::actors {

node_processes::node_processes(std::string secret_file)
    : secret_file_(std::move(secret_file)), children_([this](const cluster::child_exit& exit) { ended(exit); }) {}

std::int64_t node_processes::start(const start_on_node& what) {
  const std::lock_guard lock(mutex_);
  const auto pid = children_.start(
      worker_arguments({what.coordinator_host, what.coordinator_port, what.role, secret_file_, what.host,
                        what.heartbeat_ms, what.peer_timeout_ms}),
      {{token_variable, what.token}});
  owners_[pid] = {what.role, what.host, what.coordinator};
  telemetry::log_info("node", "started " + what.role.name() + " as process " + std::to_string(pid));
  return pid;
}

void node_processes::kill(std::int64_t pid) { children_.signal(static_cast<pid_t>(pid), SIGKILL); }

void node_processes::kill_all_of(const caf::actor_addr& coordinator) {
  const std::lock_guard lock(mutex_);
  for (const auto& [pid, owner] : owners_)
    if (owner.coordinator.address() == coordinator)
      children_.signal(static_cast<pid_t>(pid), SIGKILL);
}

void node_processes::ended(const cluster::child_exit& exit) {
  const std::lock_guard lock(mutex_);
  const auto owner = owners_.extract(exit.pid);
  if (!owner)
    return;
  telemetry::log_info("node", owner.mapped().role.name() + " (process " + std::to_string(exit.pid) + ") ended: " + exit.how);
  caf::anon_send(owner.mapped().coordinator,
                 process_ended{exit.pid, owner.mapped().host, owner.mapped().role, exit.how});
}

node_shell::behavior_type make_node_agent(node_shell::stateful_pointer<node_agent_state> self,
                                          std::shared_ptr<node_processes> processes) {
  self->state.processes = std::move(processes);
  self->set_down_handler([self](const caf::down_msg& down) {
    self->delayed_send(self, node_agent_state::grace,
                       continuation{[self, gone = down.source] { self->state.processes->kill_all_of(gone); }});
  });
  return {
      [self](const start_on_node& what) -> caf::result<started_on_node> {
        self->monitor(what.coordinator);
        return answer_or_error([&] { return started_on_node{self->state.processes->start(what)}; });
      },
      [self](const kill_on_node& what) { self->state.processes->kill(what.pid); },
      [](const continuation& rest) { rest.run(); },
  };
}

} // namespace millrace::actors
