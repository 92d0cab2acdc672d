#include "actors/coordinator_shell.hpp"

#include "actors/errors.hpp"
#include "actors/process_agent_shell.hpp"
#include "actors/wire_bytes.hpp"
#include "runtime/cluster/credentials.hpp"
#include "runtime/telemetry/log.hpp"

#include <algorithm>
#include <unistd.h>

/// The coordinator's world: processes, the roles in them, nodes; how they come, go and are started again.
namespace millrace::actors {
namespace {

std::string random_token() {
  static constexpr char digits[] = "0123456789abcdef";
  std::string token;
  for (const auto byte : cluster::random_key()) {
    token += digits[std::to_integer<unsigned>(byte) >> 4];
    token += digits[std::to_integer<unsigned>(byte) & 15];
  }
  return token;
}

} // namespace

void coordinator_state::prepare(pointer self, coordinator_config config) {
  self_ = self;
  config_ = std::move(config);
  step_ = config_.within_step;
  const auto& p = *config_.pipeline;
  storage_ = std::make_unique<job_thread>();
  connecting_ = std::make_unique<job_thread>();
  coordination_ = std::make_unique<coordination>(graph_of(p), std::move(*config_.scheduler), static_cast<std::uint64_t>(p.run.seed),
                                                 p.schedule.interrupt.mode == "pause", *this);
  for (const auto& [role, points] : config_.record->evaluations())
    coordination_->already_evaluated(role, static_cast<std::uint32_t>(points.back().version));
  progress_s_ = now();
}

void coordinator_state::begin(const begin_run& how) {
  outer_port_ = how.outer_port;
  const auto& p = *config_.pipeline;
  config_.record->say_doing("loading models");
  try {
    source_ = self_->spawn(make_source, source_state(p, *p.of<pipeline::source_table>().at(0), config_.position));
  } catch (const std::exception& error) {
    fail(error.what());
    return;
  }
  const auto me = caf::actor_cast<coordinator_actor>(self_);
  const auto agent = self_->spawn(make_process_agent, process_agent_config{config_.pipeline, own_node, config_.data, me,
                                                                           [](const std::string&) {}});
  take_in({own_node, getpid(), "", agent, wire_bytes(config_.data->address()), embedded_roles(p)});
  for (const auto& [host, node] : config_.nodes)
    self_->monitor(node);
  for (const auto& placed : placed_processes(p))
    if (!ended_)
      start_placed(placed);
  self_->delayed_send(self_, std::chrono::seconds(1), caf::tick_atom_v);
}

void coordinator_state::start_placed(const placed_process& placed) {
  const auto token = random_token();
  awaited_[token] = placed;
  lives_[placed.role.name()] = placed;
  if (!placed.host.empty()) {
    start_on_host(placed, token);
    return;
  }
  try {
    started(placed, config_.start_process(placed, token));
  } catch (const std::exception& error) {
    fail(placed.role.name() + " could not be started: " + error.what());
  }
}

void coordinator_state::start_on_host(const placed_process& placed, const std::string& token) {
  const auto node = config_.nodes.at(placed.host);
  self_->request(node, deadline(config_.pipeline->run.request_deadline_s),
                 start_on_node{placed.role, token, placed.host, config_.bind, outer_port_,
                               caf::actor_cast<coordinator_actor>(self_),
                               static_cast<std::uint32_t>(config_.pipeline->run.heartbeat_ms),
                               static_cast<std::uint32_t>(config_.pipeline->run.peer_timeout_ms)})
      .then([this, placed](const started_on_node& answer) { started(placed, answer.pid); },
            [this, placed, node](const caf::error& error) {
              if (config_.nodes.at(placed.host) == node && !lost_nodes_.contains(placed.host))
                fail(placed.role.name() + " could not be started on " + placed.host + ": " + line_of(error));
            });
}

void coordinator_state::started(const placed_process& placed, std::int64_t pid) {
  pids_[placed.role.name()] = pid;
  telemetry::log_info(placed.role.name(), (placed.role.incarnation > 1 ? "started again as process " : "started as process ")
                                              + std::to_string(pid) + (placed.host.empty() ? "" : " on " + placed.host));
}

void coordinator_state::kill(const std::string& host, std::int64_t pid) {
  if (host.empty())
    config_.kill_process(pid);
  else
    self_->send(config_.nodes.at(host), kill_on_node{pid});
}

caf::result<welcome> coordinator_state::join(const join_run& ask) {
  const auto found = awaited_.find(ask.token);
  if (found == awaited_.end() || found->second.role != ask.role)
    return error_with("this run expects no such process"); // CR-3
  awaited_.erase(found);
  joined_[next_node_] = ask.role;
  return welcome{next_node_++, config_.run_key, config_.resolved, config_.bind};
}

void coordinator_state::process_is_up(const process_up& up) {
  const auto joined = joined_.extract(up.node);
  if (joined && up.roles == std::vector{joined.mapped()})
    take_in(up);
  else
    complain("a process that never joined says that it is up: ignored");
}

void coordinator_state::take_in(const process_up& up) {
  auto& fresh = processes_[up.node];
  fresh.node = up.node;
  fresh.pid = up.pid;
  fresh.host = up.host;
  fresh.agent = up.agent;
  fresh.address = up.address;
  fresh.roles = up.roles;
  self_->monitor(up.agent);
  introduce(fresh);
}

/// Makes a fresh process and every other one known to each other; its roles start when all have answered.
void coordinator_state::introduce(live_process& fresh) {
  const auto node = fresh.node;
  const auto within = deadline(config_.pipeline->run.request_deadline_s);
  const auto tell = [&](const process_agent_actor& agent, const peer_up& peer) {
    ++processes_.at(node).introductions;
    self_->request(agent, within, peer)
        .then([this, node](const peer_known&) { introduced(node); },
              [this, node](const caf::error& error) {
                complain("introducing a process failed: " + line_of(error));
                introduced(node);
              });
  };
  for (const auto& [other_node, other] : processes_) {
    if (other_node == node)
      continue;
    tell(other.agent, {node, fresh.address});
    tell(fresh.agent, {other_node, other.address});
  }
  if (fresh.introductions == 0) {
    ++fresh.introductions;
    introduced(node);
  }
}

void coordinator_state::introduced(std::uint64_t node) {
  const auto found = processes_.find(node);
  if (found == processes_.end() || --found->second.introductions > 0 || std::exchange(found->second.started, true))
    return;
  self_->send(found->second.agent, start_roles{found->second.roles, config_.checkpoint});
}

void coordinator_state::rollout_is_ready(const rollout_ready& ready) {
  if (!processes_.contains(ready.node))
    return;
  restarts_.ready(ready.who.name());
  rollouts_[ready.who.name()] = ready.handle;
  telemetry::log_info(ready.who.name(), "ready");
  const auto& placed = config_.pipeline->placement.roles;
  const auto policy = placed.find(config_.pipeline->policy().name);
  const auto home = policy != placed.end() && !policy->second.hosts.empty() ? policy->second.hosts.front() : std::string();
  coordination_->rollout_up(ready.who, ready.node, ready.capacity_groups, now(), processes_.at(ready.node).host == home);
  progressed();
}

void coordinator_state::stage_is_ready(const stage_ready& ready) {
  if (!processes_.contains(ready.node))
    return;
  restarts_.ready(ready.who.name());
  stages_[ready.who.name()] = ready.handle;
  telemetry::log_info(ready.who.name(), "ready");
  coordination_->stage_up(ready.who, ready.node);
  progressed();
}

void coordinator_state::policy_is_ready(const policy_ready& ready) {
  if (!processes_.contains(ready.node))
    return;
  restarts_.ready(ready.who.name());
  policy_ = ready.handle;
  telemetry::log_info(ready.who.name(), "ready: trains " + std::to_string(ready.parameters) + " parameters");
  coordination_->policy_up(ready.node, now());
  progressed();
}

void coordinator_state::evaluation_is_ready(const evaluation_ready& ready) {
  if (!processes_.contains(ready.node))
    return;
  restarts_.ready(ready.who.name());
  evaluations_[ready.who.name()] = ready.handle;
  telemetry::log_info(ready.who.name(), "ready: " + std::to_string(ready.rows) + " held-out prompts");
  coordination_->evaluation_up(ready.who, ready.node);
  progressed();
}

void coordinator_state::critic_is_ready(const critic_ready& ready) {
  if (!processes_.contains(ready.node))
    return;
  restarts_.ready(ready.who.name());
  critic_ = ready.handle;
  stages_[ready.who.name()] = ready.values;
  telemetry::log_info(ready.who.name(), "ready: trains " + std::to_string(ready.parameters) + " parameters");
  coordination_->keeper_up(ready.node, "critic");
  coordination_->stage_up(ready.who, ready.node);
  progressed();
}

void coordinator_state::reference_is_ready(const reference_ready& ready) {
  if (!processes_.contains(ready.node))
    return;
  restarts_.ready(ready.who.name());
  references_[ready.who.name()] = ready.handle;
  if (ready.node != own_node)
    coordination_->keeper_up(ready.node, "reference");
  const auto up = [this, ready] {
    stages_[ready.who.name()] = ready.scores;
    telemetry::log_info(ready.who.name(), "ready");
    coordination_->stage_up(ready.who, ready.node);
    progressed();
  };
  if (!newest_) {
    up();
    return;
  }
  self_->request(ready.handle, deadline(config_.pipeline->run.request_deadline_s), follow_policy{newest_->version, newest_->parameters})
      .then([up](const policy_followed&) { up(); },
            [this, ready](const caf::error& error) { fail(ready.who.name() + ": " + line_of(error)); });
}

void coordinator_state::role_has_failed(const role_failed& failed) { fail(failed.who.name() + ": " + failed.why); }

void coordinator_state::is_down(const caf::actor_addr& agent) {
  for (const auto& [host, node] : config_.nodes)
    if (node.address() == agent) {
      node_is_down(host);
      return;
    }
  for (const auto& entry : processes_)
    if (entry.second.agent.address() == agent) {
      const auto node = entry.first; // copies: the entry goes
      const auto host = entry.second.host;
      const auto pid = entry.second.pid;
      remove_process(node, "its connection is gone");
      if (node != own_node && !ended_)
        kill(host, pid); // a process that CAF gave up on may still run
      return;
    }
}

void coordinator_state::process_has_ended(const process_ended& ended) {
  const auto found = std::find_if(processes_.begin(), processes_.end(), [&](const auto& entry) {
    return entry.second.pid == ended.pid && entry.second.host == ended.host;
  });
  if (found != processes_.end())
    remove_process(found->first, ended.how);
  std::erase_if(awaited_, [&](const auto& entry) { return entry.second.role == ended.role; });
  std::erase_if(joined_, [&](const auto& entry) { return entry.second == ended.role; });
  const auto pid = pids_.find(ended.role.name());
  if (ended_ || lost_nodes_.contains(ended.host) || pid == pids_.end() || pid->second != ended.pid)
    return;
  start_again(ended.role, ended.host, ended.how);
}

/// CR-2: every other process closes what it has with this one; then what it held is told to the scheduler.
void coordinator_state::remove_process(std::uint64_t node, const std::string& how) {
  const auto process = processes_.extract(node);
  if (!process)
    return;
  for (const auto& [other, live] : processes_)
    self_->send(live.agent, peer_gone{node});
  if (ended_)
    return;
  for (const auto& role : process.mapped().roles) {
    telemetry::log_warning(role.name(), "process " + std::to_string(process.mapped().pid) + " is gone (" + how + ")");
    rollouts_.erase(role.name());
    stages_.erase(role.name());
    evaluations_.erase(role.name());
  }
  coordination_->node_gone(node, now());
  progressed();
}

void coordinator_state::start_again(const role_instance& died, const std::string& host, const std::string& how) {
  const auto refusal = restarts_.died(died.name(), how, now());
  if (!refusal.empty()) {
    fail(refusal);
    return;
  }
  start_placed({{died.role, died.index, died.incarnation + 1}, host});
}

// -- nodes -----------------------------------------------------------------------------------------------------------

/// What ran there is lost as well: a node that ends takes its processes along, and one that is cut off ends them.
void coordinator_state::node_is_down(const std::string& host) {
  if (ended_ || lost_nodes_.contains(host))
    return;
  auto& lost = lost_nodes_[host];
  lost.since_s = now();
  for (const auto& [name, life] : lives_)
    if (life.host == host)
      lost.roles.push_back(life.role);
  telemetry::log_warning("run", "node " + host + " is gone; looking for it for "
                                    + telemetry::in_time(config_.pipeline->run.request_deadline_s));
  std::vector<std::uint64_t> gone;
  for (const auto& [node, process] : processes_)
    if (process.host == host)
      gone.push_back(node);
  for (const auto node : gone)
    remove_process(node, "its node is gone");
  std::erase_if(awaited_, [&](const auto& entry) { return entry.second.host == host; });
  look_for_node(host);
}

void coordinator_state::look_for_node(const std::string& host) {
  if (ended_)
    return;
  const auto me = caf::actor_cast<coordinator_shell>(self_);
  connecting_->post([this, me, host, find = config_.find_node] {
    try {
      continue_in(me, [this, host, node = find(host)] { node_is_back(host, node); });
    } catch (const std::exception& error) {
      continue_in(me, [this, host, why = std::string(error.what())] { node_not_found(host, why); });
    }
  });
}

void coordinator_state::node_not_found(const std::string& host, const std::string& why) {
  const auto& lost = lost_nodes_.at(host);
  if (now() - lost.since_s < config_.pipeline->run.request_deadline_s) {
    self_->delayed_send(self_, std::chrono::milliseconds(500), continuation{[this, host] { look_for_node(host); }});
    return;
  }
  std::string roles;
  for (const auto& role : lost.roles)
    roles += (roles.empty() ? "" : ", ") + role.name();
  fail("node " + host + ", where " + roles + " ran, has been gone for " + telemetry::in_time(now() - lost.since_s)
       + ", longer than run.request_deadline_s (" + why + ")");
}

void coordinator_state::node_is_back(const std::string& host, const node_actor& node) {
  if (ended_)
    return;
  const auto lost = lost_nodes_.extract(host).mapped();
  telemetry::log_info("run", "node " + host + " is back after " + telemetry::in_time(now() - lost.since_s));
  config_.nodes[host] = node;
  self_->monitor(node);
  for (const auto& role : lost.roles)
    start_again(role, host, "its node was gone");
}

} // namespace millrace::actors
