#include "actors/coordinator/coordinator_state.hpp"
#include "runtime/supervision/placed_processes.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/telemetry/progress.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

/// Hosts that come and go with the processes which their nodes have started.
namespace millrace::actors {

void coordinator_state::watch_node(const std::string& host) {
  self_.watch(config_.nodes.at(host), [this, host] { node_is_down(host); });
}

/// The processes that ran there are lost as well: a node that ends, or that is cut off, ends its processes.
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
  const auto idle = [this](const auto& node) {
    return !lost_nodes_.contains(node.first)
           && std::ranges::none_of(lives_, [&](const auto& life) { return life.second.host == node.first; });
  };
  if (const auto spare = std::ranges::find_if(config_.nodes, idle); spare != config_.nodes.end() && may_move(lost))
    take_place_of(host, std::string(spare->first));
  else
    look_for_node(host);
}

void coordinator_state::look_for_node(const std::string& host) {
  if (ended_ || !lost_nodes_.contains(host))
    return;
  connecting_->post([this, me = self_.weak(), host, find = config_.find_node] {
    try {
      continue_in(me, [this, host, node = find(host)] { node_is_back(host, node); });
    } catch (const std::exception& error) {
      continue_in(me, [this, host, why = std::string(error.what())] { node_not_found(host, why); });
    }
  });
}

void coordinator_state::node_not_found(const std::string& host, const std::string& why) {
  if (!lost_nodes_.contains(host)) // another has taken its place
    return;
  const auto& lost = lost_nodes_.at(host);
  if (now() - lost.since_s < config_.pipeline->run.request_deadline_s) {
    self_.after(std::chrono::milliseconds(500), [this, host] { look_for_node(host); });
    return;
  }
  std::string roles;
  for (const auto& role : lost.roles)
    roles += (roles.empty() ? "" : ", ") + role.name();
  const auto line = "node " + host + ", where " + roles + " ran, has been gone for "
                    + telemetry::in_time(now() - lost.since_s) + ", longer than run.request_deadline_s (" + why + ")";
  if (!may_move(lost))
    return fail(line);
  telemetry::log_warning("run", line + ": what ran there goes on elsewhere");
  config_.nodes.erase(host);
  const auto moving = lost_nodes_.extract(host).mapped();
  for (const auto& role : moving.roles)
    move(role);
}

bool coordinator_state::may_move(const lost_node& lost) const {
  return std::ranges::all_of(
      lost.roles, [this](const auto& role) { return config_.pipeline->placement.roles.at(role.role).on_any_host(); });
}

/// To the host with the fewest processes of those that are there.
void coordinator_state::move(const role_instance& role) {
  const auto processes_on = [this](const std::string& host) {
    return std::ranges::count_if(lives_, [&](const auto& entry) { return entry.second.host == host; });
  };
  std::string emptiest; // this host
  for (const auto& [host, node] : config_.nodes)
    if (!lost_nodes_.contains(host) && processes_on(host) < processes_on(emptiest))
      emptiest = host;
  move_to(role, emptiest);
}

/// On its new host it has the lowest GPU that nobody has there.
void coordinator_state::move_to(const role_instance& role, const std::string& host) {
  auto& life = lives_.at(role.name());
  life.host = host;
  if (life.gpu)
    life.gpu = supervision::free_gpu(lives_, life);
  start_placed(next_life(role, host)); // its node's loss is no death of its own
}

joined_as_node coordinator_state::node_joins(const join_as_node& ask) {
  const handle<starts_processes> node(ask.node);
  if (ended_)
    throw std::runtime_error("this run has ended");
  if (lost_nodes_.contains(ask.host)) {
    node_is_back(ask.host, node);
    return {ask.host};
  }
  if (config_.nodes.contains(ask.host))
    throw std::runtime_error("this run has a node " + ask.host + " already");
  config_.nodes[ask.host] = node;
  watch_node(ask.host);
  const auto lost = std::ranges::find_if(lost_nodes_, [this](const auto& entry) { return may_move(entry.second); });
  if (lost == lost_nodes_.end()) {
    telemetry::log_info("run", "node " + ask.host + " has joined, for when another is lost");
    return {};
  }
  const auto before = lost->first;
  take_place_of(before, ask.host);
  return {before};
}

void coordinator_state::take_place_of(const std::string& lost, const std::string& host) {
  telemetry::log_info("run", "node " + host + " takes the place of " + lost);
  config_.nodes.erase(lost);
  const auto moving = lost_nodes_.extract(lost).mapped();
  for (const auto& role : moving.roles)
    move_to(role, host);
}

void coordinator_state::node_is_back(const std::string& host, const handle<starts_processes>& node) {
  if (ended_ || !lost_nodes_.contains(host))
    return;
  const auto lost = lost_nodes_.extract(host).mapped();
  telemetry::log_info("run", "node " + host + " is back after " + telemetry::in_time(now() - lost.since_s));
  config_.nodes[host] = node;
  watch_node(host);
  for (const auto& role : lost.roles)
    start_placed(next_life(role, host));
}

} // namespace millrace::actors
