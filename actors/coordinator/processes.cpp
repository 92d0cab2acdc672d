#include "actors/coordinator/coordinator_state.hpp"
#include "actors/protocol/wire_bytes.hpp"
#include "runtime/access/key.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/milliseconds.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

/// The coordinator's world: processes and the roles in them; how they come, go and are started again.
namespace millrace::actors {
namespace {

std::string absolute_or_empty(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).string();
}

} // namespace

void coordinator_state::begin(const begin_run& how) {
  outer_port_ = how.outer_port;
  const auto& p = *config_.pipeline;
  config_.record->say_doing("loading models");
  try {
    source_ = config_.start_source(self_, config_.position);
  } catch (const std::exception& error) {
    fail(error.what());
    return;
  }
  take_in({.node = own_node,
           .pid = getpid(),
           .host = "",
           .agent = config_.start_agent(self_, handle<decides>(self_.me())),
           .address = wire_bytes(config_.data->address()),
           .roles = supervision::embedded_roles(p)});
  for (const auto& [host, node] : config_.nodes)
    watch_node(host);
  for (const auto& placed : supervision::placed_processes(p))
    if (!ended_)
      start_placed(placed);
  self_.after(std::chrono::seconds(1), [this] { tick(); });
}

void coordinator_state::start_placed(const supervision::placed_process& placed) {
  const auto token = access::hex(access::random_key());
  awaited_[token] = placed;
  lives_[placed.role.name()] = placed;
  self_.after(join_deadline(), [this, placed, token] { look_whether_up(placed, token); });
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

void coordinator_state::start_on_host(const supervision::placed_process& placed, const std::string& token) {
  const auto node = config_.nodes.at(placed.host);
  self_.ask(
      node,
      start_on_node{.role = placed.role,
                    .token = token,
                    .host = placed.host,
                    .coordinator_host = config_.bind,
                    .coordinator_port = outer_port_,
                    .coordinator = handle<decides>(self_.me()),
                    .heartbeat_ms = static_cast<std::uint32_t>(config_.pipeline->run.heartbeat_ms),
                    .peer_timeout_ms = static_cast<std::uint32_t>(config_.pipeline->run.peer_timeout_ms),
                    .gpu = placed.gpu ? std::int64_t{*placed.gpu} : -1},
      request_deadline(), [this, placed](const started_on_node& answer) { started(placed, answer.pid); },
      [this, placed, node](const refusal& why) {
        const auto now_there = config_.nodes.find(placed.host);
        if (now_there == config_.nodes.end() || now_there->second != node || lost_nodes_.contains(placed.host))
          return;
        if (!why.by_the_asked)
          return node_is_down(placed.host);
        const auto line = placed.role.name() + " could not be started on " + placed.host + ": " + why.line;
        fail(placed.gpu ? pipeline::pipeline_errors(
                              {config_.pipeline->mistake_at("placement." + placed.role.role + ".gpus", line)})
                              .what()
                        : line);
      });
}

void coordinator_state::started(const supervision::placed_process& placed, std::int64_t pid) {
  pids_[placed.role.name()] = pid;
  telemetry::log_info(placed.role.name(),
                      (placed.role.incarnation > 1 ? "started again as process " : "started as process ")
                          + std::to_string(pid) + (placed.host.empty() ? "" : " on " + placed.host));
}

bool coordinator_state::has_joined(const role_instance& role) const {
  return std::any_of(joined_.begin(), joined_.end(), [&](const auto& entry) { return entry.second == role; });
}

/// A process that freezes before it has joined sends no heartbeats that could be missed.
void coordinator_state::look_whether_up(const supervision::placed_process& placed, const std::string& token) {
  const bool joined = has_joined(placed.role);
  if (ended_ || (!awaited_.contains(token) && !joined))
    return;
  const auto pid = pids_.find(placed.role.name());
  telemetry::log_warning(placed.role.name(), std::string(joined ? "joined and has not gone on" : "has not joined")
                                                 + " within "
                                                 + telemetry::in_time(config_.pipeline->run.join_deadline_s)
                                                 + " of its start: it is killed");
  if (pid != pids_.end())
    kill(placed.host, pid->second);
}

void coordinator_state::kill(const std::string& host, std::int64_t pid) {
  if (host.empty())
    config_.kill_process(pid);
  else if (const auto node = config_.nodes.find(host); node != config_.nodes.end())
    tell(node->second, kill_on_node{pid});
}

/// Nobody tells such a process that the run has ended: it would look for it.
void coordinator_state::kill_who_is_not_up() {
  for (const auto& [name, pid] : pids_) {
    const auto& host = lives_.at(name).host;
    if (std::none_of(processes_.begin(), processes_.end(), [&, pid = pid](const auto& entry) {
          return entry.second.pid == pid && entry.second.host == host;
        }))
      kill(host, pid);
  }
}

welcome coordinator_state::join(const join_run& ask) {
  const auto found = awaited_.find(ask.token);
  if (found == awaited_.end() || found->second.role != ask.role)
    throw std::runtime_error("this run expects no such process"); // CR-3
  awaited_.erase(found);
  joined_[next_node_] = ask.role;
  return {.node = next_node_++, .run_key = config_.run_key, .pipeline = config_.resolved, .bind = config_.bind};
}

void coordinator_state::process_is_up(const process_up& up) {
  const auto joined = joined_.extract(up.node);
  if (joined && up.roles == std::vector{joined.mapped()})
    take_in(up);
  else
    complain("ignored a process that says it is up and never joined");
}

void coordinator_state::take_in(const process_up& up) {
  auto& fresh = processes_[up.node];
  fresh.node = up.node;
  fresh.pid = up.pid;
  fresh.host = up.host;
  fresh.agent = up.agent;
  fresh.address = up.address;
  fresh.roles = up.roles;
  self_.watch(up.agent, [this, node = up.node] { agent_is_down(node); });
  introduce(fresh);
}

/// Introduces a new process and every other process to each other. Its roles start when all have answered. Who dies
/// meanwhile is not waited for.
void coordinator_state::introduce(live_process& fresh) {
  const auto node = fresh.node;
  const auto introduce_to = [&](const live_process& asked, const peer_up& peer) {
    const auto by = asked.node;
    processes_.at(node).introductions.insert(by);
    self_.ask(
        asked.agent, peer, request_deadline(), [this, node, by](const peer_known&) { introduced(node, by); },
        [this, node, by](const refusal& why) {
          if (processes_.contains(node) && processes_.contains(by))
            complain("introducing a process failed: " + why.line);
          introduced(node, by);
        });
  };
  for (const auto& [other_node, other] : processes_) {
    if (other_node == node)
      continue;
    introduce_to(other, {node, fresh.address});
    introduce_to(fresh, {other_node, other.address});
  }
  start_if_introduced(fresh);
}

void coordinator_state::introduced(node_id node, node_id by) {
  const auto found = processes_.find(node);
  if (found == processes_.end())
    return;
  auto& waiting = found->second.introductions;
  if (const auto one = waiting.find(by); one != waiting.end())
    waiting.erase(one);
  start_if_introduced(found->second);
}

void coordinator_state::start_if_introduced(live_process& fresh) {
  if (fresh.introductions.empty() && !std::exchange(fresh.started, true))
    tell(fresh.agent, start_roles{fresh.roles, absolute_or_empty(config_.checkpoint)});
}

void coordinator_state::role_is_ready(const role_ready& ready) {
  if (!processes_.contains(ready.node))
    return;
  const auto name = ready.who.name();
  restarts_.ready(name);
  last_words_.erase(name);
  const auto& host = processes_.at(ready.node).host;
  const bool has_a_share = ready.rank && config_.pipeline->shard_of(ready.who.role) != sharding::none;
  if ((ready.state_keeper || has_a_share) && !host.empty())
    return find_checkpoints(ready, host);
  bring_up_to_date(ready);
}

/// A role that follows the leader gets the newest weights before it is taken in.
void coordinator_state::bring_up_to_date(const role_ready& ready) {
  const bool follows = ready.weights_taker && !ready.generator && !ready.evaluator;
  if (!follows || !newest_) {
    take_role_in(ready);
    return;
  }
  self_.ask(
      ready.weights_taker, new_weights{.version = newest_->version, .parameters = newest_->parameters},
      request_deadline(), [this, ready](const weights_live&) { take_role_in(ready); },
      [this, ready](const refusal& why) {
        after_news_of_deaths([this, ready, line = why.line] {
          if (processes_.contains(ready.node)) // else it is started again
            fail(ready.who.name() + ": " + line);
        });
      });
}

void coordinator_state::take_role_in(const role_ready& ready) {
  const auto process = processes_.find(ready.node);
  if (process == processes_.end())
    return;
  roles_[ready.who.name()] = ready;
  std::string line = "ready";
  if (ready.trainer)
    line += ": trains " + std::to_string(ready.parameters) + " parameters";
  if (ready.evaluator)
    line += ": " + std::to_string(ready.rows) + " held-out prompts";
  if (ready.rank)
    line += std::string(ready.trainer ? ", " : ": ") + "rank " + std::to_string(ready.who.index) + " of "
            + std::to_string(config_.pipeline->processes_of(ready.who.role));
  telemetry::log_info(ready.who.name(), line);
  if (ready.rank)
    form_ranks_if_all_up(ready.who.role);
  if (ready.generator) {
    const auto home = config_.pipeline->host_of(leader_role_, 0);
    router_->generator_up(ready.who, ready.node,
                          {.capacity_groups = ready.capacity_groups, .lent = process->second.host == home}, now());
  }
  if (ready.column_adder)
    router_->adder_up(ready.who, ready.node);
  if (ready.environment)
    router_->environment_up(ready.who, ready.node, place_of(ready), now());
  if (is_leader(ready))
    router_->leader_up(ready.node);
  if (ready.evaluator)
    router_->evaluation_up(ready.who, ready.node);
  progressed();
}

void coordinator_state::role_has_failed(const role_failed& failed) {
  if (ended_)
    return;
  const auto act = [this, failed] {
    end({.ok = false, .line = failed.who.name() + ": " + failed.why, .at_start = failed.at_start});
  };
  if (config_.pipeline->shard_of(failed.who.role) != sharding::none)
    after_news_of_deaths(act);
  else
    act();
}

void coordinator_state::process_has_failed(const process_failed& failed) {
  if (!has_joined(failed.role))
    return;
  telemetry::log_warning(failed.role.name(), (failed.host.empty() ? "" : "on " + failed.host + ": ") + failed.why);
  last_words_[failed.role.name()] = failed.why;
}

void coordinator_state::agent_is_down(node_id node) {
  const auto found = processes_.find(node);
  if (found == processes_.end())
    return;
  const auto host = found->second.host;
  const auto pid = found->second.pid;
  remove_process(node, "its connection is gone");
  if (node != own_node && !ended_)
    kill(host, pid); // its connection was given up; the process itself may still run
}

void coordinator_state::process_has_ended(const process_ended& ended) {
  const auto pid = pids_.find(ended.role.name());
  const bool newest = pid != pids_.end() && pid->second == ended.pid;
  if (newest)
    pids_.erase(pid);
  const auto found = std::find_if(processes_.begin(), processes_.end(), [&](const auto& entry) {
    return entry.second.pid == ended.pid && entry.second.host == ended.host;
  });
  if (found != processes_.end())
    remove_process(found->first, ended.how);
  std::erase_if(awaited_, [&](const auto& entry) { return entry.second.role == ended.role; });
  std::erase_if(joined_, [&](const auto& entry) { return entry.second == ended.role; });
  if (taking_down_ && pids_.empty())
    return conclude_taken_down();
  if (!ended_ && newest && !lost_nodes_.contains(ended.host))
    start_again(ended.role, ended.host, ended.how);
}

/// CR-2: every other process closes its connections to this one. Then the scheduler hears which groups it held.
void coordinator_state::remove_process(std::uint64_t node, const std::string& how) {
  const auto process = processes_.extract(node);
  if (!process)
    return;
  for (auto& [other, live] : processes_) {
    tell(live.agent, peer_gone{node});
    live.introductions.erase(node);
  }
  if (ended_)
    return;
  for (auto& [other, live] : processes_)
    start_if_introduced(live);
  for (const auto& role : process.mapped().roles) {
    telemetry::log_warning(role.name(), "process " + std::to_string(process.mapped().pid) + " is gone (" + how + ")");
    const auto gone = roles_.extract(role.name());
    if (gone && gone.mapped().state_keeper && node != own_node)
      lose(role, how, "its state");
    else if (gone && gone.mapped().rank)
      part_ranks_of(gone.mapped(), how);
  }
  if (ended_)
    return;
  router_->node_gone(node, now());
  progressed();
}

void coordinator_state::start_again(const role_instance& died, const std::string& host, const std::string& how) {
  const auto others = std::count_if(roles_.begin(), roles_.end(), [&](const auto& entry) {
    return entry.second.who.role == died.role && entry.second.who.index != died.index;
  });
  const auto again = restarts_.died(died.name(), how, now(), static_cast<std::size_t>(others));
  if (!again.refusal.empty()) {
    const auto words = last_words_.find(died.name());
    fail(again.refusal + (words == last_words_.end() ? "" : ": " + words->second));
    return;
  }
  const auto next = next_life(died, host);
  if (again.after_s == 0)
    return start_placed(next);
  telemetry::log_warning(died.name(),
                         "dies again and again: it is started again in " + telemetry::in_time(again.after_s));
  self_.after(milliseconds_of(again.after_s), [this, next] {
    const bool newest = lives_.at(next.role.name()).role.incarnation + 1 == next.role.incarnation;
    if (!ended_ && newest && !lost_nodes_.contains(next.host))
      start_placed(next);
  });
}

supervision::placed_process coordinator_state::next_life(const role_instance& last, const std::string& host) const {
  return {{last.role, last.index, last.incarnation + 1}, host, lives_.at(last.name()).gpu};
}

} // namespace millrace::actors
