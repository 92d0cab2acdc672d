#include "actors/coordinator_shell.hpp"

#include "actors/column_set.hpp"
#include "actors/errors.hpp"
#include "actors/process_agent_shell.hpp"
#include "runtime/cluster/credentials.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/telemetry/waits.hpp"

#include <algorithm>
#include <unistd.h>

namespace millrace::actors {
namespace {

constexpr std::uint64_t own_node = 1;
constexpr std::uint64_t most_refusals_in_a_row = 1000; ///< of prompts: data of which nothing fits would never end

std::string random_token() {
  static constexpr char digits[] = "0123456789abcdef";
  std::string token;
  for (const auto byte : cluster::random_key()) {
    token += digits[std::to_integer<unsigned>(byte) >> 4];
    token += digits[std::to_integer<unsigned>(byte) & 15];
  }
  return token;
}

std::vector<std::uint8_t> to_vector(const std::vector<std::byte>& bytes) {
  std::vector<std::uint8_t> result;
  for (const auto byte : bytes)
    result.push_back(std::to_integer<std::uint8_t>(byte));
  return result;
}

telemetry::wait_record to_telemetry(const schedule::wait_record& wait) {
  std::string on;
  for (const auto& name : wait.on)
    on += (on.empty() ? "" : ", ") + name;
  return {wait.who, wait.what, on, wait.since_s, 0};
}

} // namespace

group_graph graph_of(const pipeline::pipeline& p) {
  group_graph graph;
  for (const auto& role : p.roles) {
    if (const auto* rollout = std::get_if<pipeline::rollout_table>(&role.options))
      graph.rollouts.emplace(role.name, static_cast<std::int32_t>(rollout->answers_per_prompt));
    else if (std::holds_alternative<pipeline::policy_table>(role.options)) {
      graph.policy = role.name;
      graph.policy_from = role.from;
    } else if (!std::holds_alternative<pipeline::source_table>(role.options))
      graph.stages.push_back({role.name, role.from});
  }
  return graph;
}

schedule::config schedule_of(const pipeline::pipeline& p) {
  auto config = schedule::preset(p.schedule.preset);
  config.groups_per_step = static_cast<std::uint32_t>(p.schedule.groups_per_step);
  config.steps = static_cast<std::uint32_t>(p.run.steps);
  config.depth = static_cast<double>(p.schedule.depth);
  config.stale_max = static_cast<std::uint32_t>(p.schedule.stale.max);
  config.in_flight_update = p.schedule.in_flight_update;
  config.checkpoint_every = static_cast<std::uint32_t>(p.run.checkpoint_every);
  return config;
}

double coordinator_state::now() const { return telemetry::now_s(); }

std::chrono::milliseconds coordinator_state::deadline(double seconds) const {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

// -- processes and roles ---------------------------------------------------------------------------------------------

void coordinator_state::prepare(pointer self, coordinator_config config) {
  self_ = self;
  config_ = std::move(config);
  const auto& p = *config_.pipeline;
  storage_ = std::make_unique<job_thread>();
  connecting_ = std::make_unique<job_thread>();
  coordination_ = std::make_unique<coordination>(graph_of(p), *config_.scheduler, static_cast<std::uint64_t>(p.run.seed),
                                                 p.schedule.in_flight_update, *this);
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
  take_in({own_node, getpid(), "", agent, to_vector(config_.data->address()), embedded_roles(p)});
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
  coordination_->rollout_up(ready.who, ready.node, ready.capacity_groups, now());
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

// -- what roles send -------------------------------------------------------------------------------------------------

void coordinator_state::group_is_generated(const group_generated& generated) {
  coordination_->generated(generated, now());
  progressed();
}

void coordinator_state::take_report(const process_report& report) {
  const auto found = processes_.find(report.node);
  if (found == processes_.end())
    return;
  auto& process = found->second;
  // On this host the clock is the same; elsewhere the smallest difference seen is the best estimate.
  if (!process.host.empty()) {
    const double difference = now() - report.now_s;
    process.clock_offset_s = process.clock_offset_s == 0 ? difference : std::min(process.clock_offset_s, difference);
  }
  std::string label = report.node == own_node ? "run" : process.roles.at(0).name();
  if (!process.host.empty())
    label += " on " + process.host;
  try {
    config_.record->add_trace(report.trace, process.pid, label, process.clock_offset_s);
  } catch (const std::exception& error) {
    complain(error.what());
  }
  process.waits = report.waits;
  if (!report.transports.empty())
    telemetry::log_info(label, "data plane: " + report.transports);
}

// -- effects: groups -------------------------------------------------------------------------------------------------

void coordinator_state::take_prompt(std::uint64_t index) {
  self_->request(source_, deadline(config_.pipeline->run.request_deadline_s), actors::take_prompt{index})
      .then(
          [this](const prompt_row& row) {
            if (row.skipped_rows > 0)
              config_.record->skipped("unusable row", static_cast<std::int64_t>(row.skipped_rows));
            coordination_->prompt_arrived(row, now());
          },
          [this](const caf::error& error) { fail("source: " + line_of(error)); });
}

void coordinator_state::generate(const role_instance& rollout, const generate_group& what) {
  const auto handle = rollouts_.find(rollout.name());
  if (handle == rollouts_.end())
    return; // its end is already on its way to the scheduler
  self_->request(handle->second, deadline(config_.pipeline->run.request_deadline_s), what)
      .then([this](const group_accepted&) { refused_in_a_row_ = 0; },
            [this, rollout, what](const caf::error& error) {
              // An error with a line of its own is a refusal of the prompt; CAF's own errors are the network's.
              const bool refused = error.category() == caf::atom("system")
                                   && error.code() == static_cast<std::uint8_t>(caf::sec::runtime_error);
              if (refused) {
                config_.record->skipped("prompt refused", 1);
                if (++refused_in_a_row_ == most_refusals_in_a_row)
                  fail(std::to_string(refused_in_a_row_) + " prompts in a row were refused, the last one: " + line_of(error));
              }
              coordination_->generation_refused(what.group, what.attempt, rollout.name() + ": " + line_of(error), !refused,
                                                now());
            });
}

void coordinator_state::cancel(const role_instance& rollout, const cancel_group& what) {
  if (const auto handle = rollouts_.find(rollout.name()); handle != rollouts_.end())
    self_->send(handle->second, what);
}

void coordinator_state::process(const role_instance& stage, const process_group& what) {
  const auto handle = stages_.find(stage.name());
  if (handle == stages_.end())
    return;
  self_->request(handle->second, deadline(config_.pipeline->run.request_deadline_s), what)
      .then([this, stage](const group_columns& answer) { coordination_->processed(stage, answer, now()); },
            [this, stage, what](const caf::error& error) {
              coordination_->processing_failed(stage, what.group, what.attempt, line_of(error), now());
            });
}

/// Two take the columns: the policy, to train on them, and this process, for the trajectory file.
void coordinator_state::fetch(const fetch_group& what) {
  const auto within = deadline(config_.pipeline->run.request_deadline_s);
  const bool sampled = telemetry::is_sampled(what.group, config_.pipeline->run.trajectories_fraction);
  fetches_[{what.group, what.attempt}] = {sampled ? 2 : 1, ""};
  self_->request(policy_, within, what)
      .then([this, what](const group_fetched&) { one_fetched(what, ""); },
            [this, what](const caf::error& error) { one_fetched(what, line_of(error)); });
  if (!sampled)
    return;
  const auto me = caf::actor_cast<coordinator_actor>(self_);
  pull_columns(*config_.data, what.columns, {}, within, [this, me, what](column_set columns, std::string error) {
    continue_in(caf::actor_cast<coordinator_shell>(me), [this, what, columns, line = error]() mutable {
      try {
        if (const auto* row = coordination_->row_of(what.group); row && line.empty())
          config_.record->keep(trajectory_of(what.group, *row, columns));
      } catch (const std::exception& malformed) {
        line = malformed.what();
      }
      one_fetched(what, line);
    });
  });
}

void coordinator_state::one_fetched(const fetch_group& what, const std::string& error) {
  const auto found = fetches_.find({what.group, what.attempt});
  if (found == fetches_.end())
    return;
  if (!error.empty() && found->second.second.empty())
    found->second.second = error;
  if (--found->second.first > 0)
    return;
  const auto first_error = fetches_.extract(found).mapped().second;
  if (first_error.empty())
    coordination_->fetched({what.group, what.attempt}, now());
  else
    coordination_->fetch_failed(what.group, what.attempt, first_error, now());
  progressed();
}

void coordinator_state::forget(std::uint64_t group) {
  config_.record->forget(group);
  if (policy_)
    self_->send(policy_, forget_group{group});
}

void coordinator_state::release(const std::vector<transport::ticket>& columns) {
  std::map<std::uint64_t, release_bundles> by_owner;
  for (const auto& ticket : columns)
    if (ticket.id != 0)
      by_owner[ticket.owner].ids.push_back(ticket.id);
  for (auto& [owner, bundles] : by_owner)
    if (const auto process = processes_.find(owner); process != processes_.end())
      self_->send(process->second.agent, std::move(bundles));
}

// -- effects: training and weights -----------------------------------------------------------------------------------

void coordinator_state::train(const train_batch& what) {
  self_->request(policy_, deadline(10 * config_.pipeline->run.stall_after_s), what)
      .then(
          [this](const batch_report& report) {
            coordination_->trained(report, now());
            progressed();
          },
          [this](const caf::error& error) { coordination_->training_failed(line_of(error)); });
}

void coordinator_state::interrupt_training(std::uint64_t step) { self_->send(policy_, actors::interrupt_training{step}); }

void coordinator_state::publish(std::uint32_t version) {
  self_->request(policy_, deadline(10 * config_.pipeline->run.stall_after_s), publish_weights{version})
      .then(
          [this](const weights_published& result) {
            coordination_->published(result);
            progressed();
          },
          [this, version](const caf::error& error) { coordination_->publishing_failed(version, line_of(error)); });
}

void coordinator_state::send_weights(const role_instance& rollout, const new_weights& what) {
  const auto handle = rollouts_.find(rollout.name());
  if (handle == rollouts_.end())
    return;
  // Without in-flight update the answer waits for the groups under way.
  const auto& run = config_.pipeline->run;
  self_->request(handle->second, deadline(run.request_deadline_s + run.stall_after_s), what)
      .then(
          [this, rollout](const weights_live& live) {
            coordination_->weights_are_live(rollout, live.version, now());
            progressed();
          },
          [this, rollout, version = what.version](const caf::error& error) {
            coordination_->weights_failed(rollout, version, line_of(error));
          });
}

void coordinator_state::step_done(const batch_report& report, const std::vector<std::uint64_t>& groups) {
  auto figures = report.metrics;
  std::map<std::string, double> sums;
  for (const auto group : groups)
    for (const auto& [name, value] : coordination_->summary_of(group))
      sums[name] += value;
  for (const auto& [name, sum] : sums)
    if (name.starts_with("reward."))
      figures[telemetry::metric::rule_reward(name.substr(7))] = sum / static_cast<double>(groups.size());
    else if (name != "reward")
      figures[name] = sum;
  figures["groups/dropped"] = static_cast<double>(coordination_->dropped_groups());
  if (report.skipped)
    complain("step " + std::to_string(report.step) + " was skipped: " + report.complaint);
  try {
    config_.record->step_done(static_cast<std::int64_t>(report.step), std::move(figures), coordination_->scheduler());
    config_.record->trained(static_cast<std::int64_t>(report.step), groups);
  } catch (const std::exception& error) {
    fail(error.what());
  }
  if (const auto open = coordination_->scheduler().books().check(); !open.empty())
    fail("the ledger does not close at step " + std::to_string(report.step) + ": " + open);
}

// -- effects: checkpoints and the end --------------------------------------------------------------------------------

/// The policy is asked before this returns: by PO-1 it writes the weights of this very step, whatever is trained next.
void coordinator_state::checkpoint(std::uint32_t step, const std::string& scheduler_state) {
  const auto oldest = coordination_->scheduler().oldest_live();
  std::shared_ptr<telemetry::checkpoint_attempt> attempt;
  try {
    attempt = std::make_shared<telemetry::checkpoint_attempt>(config_.checkpoints->begin(step));
  } catch (const std::exception& error) {
    self_->send(self_, checkpoint_stored{step, "", error.what()});
    return;
  }
  self_->request(policy_, deadline(10 * config_.pipeline->run.stall_after_s), write_checkpoint{attempt->folder().string()})
      .then(
          [this, attempt, step, scheduler_state, oldest](const checkpoint_written&) {
            add_position(attempt, step, scheduler_state, oldest);
          },
          [this, attempt, step](const caf::error& error) { checkpoint_is_stored({step, "", line_of(error)}); });
}

void coordinator_state::add_position(const std::shared_ptr<telemetry::checkpoint_attempt>& attempt, std::uint32_t step,
                                     const std::string& state, std::uint64_t oldest) {
  const auto me = caf::actor_cast<coordinator_actor>(self_);
  self_->request(source_, deadline(config_.pipeline->run.request_deadline_s), find_position{oldest})
      .then(
          [this, me, attempt, step, state](const source_position& position) {
            storage_->post([me, attempt, step, state, position] {
              try {
                const telemetry::timed span(telemetry::process_trace(), "coordinator", "checkpoint",
                                            telemetry::cause::storage);
                attempt->write("scheduler.txt", state);
                attempt->write("source.txt", std::to_string(position.index) + ' ' + std::to_string(position.epoch) + ' '
                                                 + std::to_string(position.next) + ' ' + std::to_string(position.rows) + '\n');
                const auto folder = attempt->commit();
                caf::anon_send(me, checkpoint_stored{step, folder.string(), ""});
              } catch (const std::exception& error) {
                caf::anon_send(me, checkpoint_stored{step, "", error.what()});
              }
            });
          },
          [this, attempt, step](const caf::error& error) {
            checkpoint_is_stored({step, "", "source: " + line_of(error)});
          });
}

void coordinator_state::checkpoint_is_stored(const checkpoint_stored& stored) {
  if (ended_)
    return;
  if (stored.failure.empty()) {
    telemetry::log_info("run", "checkpoint of step " + std::to_string(stored.step) + " in " + stored.folder);
    config_.record->checkpointed(stored.step, stored.folder);
    coordination_->checkpointed(stored.step, now());
    progressed();
    return;
  }
  const auto line = telemetry::checkpoint_failure(config_.checkpoints->folder(), stored.step, stored.failure);
  const auto waits = coordination_->scheduler().waits();
  const bool last = std::any_of(waits.begin(), waits.end(),
                                [](const auto& wait) { return wait.kind == schedule::wait_kind::saving; });
  if (last)
    fail(line);
  else
    complain(line + "; the run goes on");
}

void coordinator_state::complain(const std::string& line) { telemetry::log_warning("run", line); }

void coordinator_state::finish(schedule::finish_reason reason) {
  end({true, reason == schedule::finish_reason::stopped ? "stopped" : "finished"});
}

void coordinator_state::fail(const std::string& why) {
  if (!ended_)
    end({false, why});
}

void coordinator_state::end(run_outcome outcome) {
  if (std::exchange(ended_, true))
    return;
  try {
    config_.record->add_trace(telemetry::process_trace().take(), getpid(), "run", 0);
    config_.record->write_status(coordination_->scheduler(), outcome.ok ? outcome.line : "failed", role_states(), {});
    config_.record->finish(coordination_->scheduler(), outcome.ok ? outcome.line : "failed");
  } catch (const std::exception& error) {
    outcome = {false, error.what()};
  }
  for (const auto& [node, process] : processes_)
    self_->send(process.agent, end_process{outcome.line});
  const auto leave = [this](const auto& handle) { self_->send_exit(handle, caf::exit_reason::user_shutdown); };
  for (const auto& [who, rollout] : rollouts_)
    leave(rollout);
  for (const auto& [who, stage] : stages_)
    leave(stage);
  if (policy_)
    leave(policy_);
  if (source_)
    leave(source_);
  config_.on_end(outcome.ok ? run_outcome{true, ""} : outcome);
  self_->quit();
}

void coordinator_state::stop(const stop_run& why) {
  if (ended_)
    return;
  telemetry::log_info("run", "stopping: " + why.why);
  if (!policy_)
    fail("stopped before the models were loaded");
  else
    coordination_->stop(now());
}

// -- looking ---------------------------------------------------------------------------------------------------------

void coordinator_state::progressed() { progress_s_ = now(); }

std::vector<telemetry::wait_record> coordinator_state::all_waits() const {
  std::vector<telemetry::wait_record> waits;
  for (const auto& wait : coordination_->scheduler().waits())
    waits.push_back(to_telemetry(wait));
  for (const auto& [node, process] : processes_)
    for (auto wait : process.waits) {
      wait.since_s += process.clock_offset_s;
      waits.push_back(std::move(wait));
    }
  for (const auto& [token, placed] : awaited_)
    waits.push_back({"run", placed.role.name() + " to join", placed.role.name(), progress_s_, 0});
  for (const auto& [host, lost] : lost_nodes_)
    waits.push_back({"run", "node " + host + " to come back", "node " + host, lost.since_s, 0});
  return waits;
}

std::vector<telemetry::role_status> coordinator_state::role_states() const {
  std::vector<telemetry::role_status> states;
  for (const auto& [node, process] : processes_)
    for (const auto& role : process.roles) {
      const auto name = role.name();
      const bool ready = rollouts_.contains(name) || stages_.contains(name)
                         || (policy_ && role.role == config_.pipeline->policy().name);
      states.push_back({name, process.pid, process.host, ready ? "ready" : "loading"});
    }
  for (const auto& [token, placed] : awaited_)
    states.push_back({placed.role.name(), 0, placed.host, "starting"});
  return states;
}

void coordinator_state::report_stall() {
  std::vector<std::string> gone;
  for (const auto& [token, placed] : awaited_)
    gone.push_back(placed.role.name());
  for (const auto& [host, lost] : lost_nodes_)
    gone.push_back("node " + host);
  telemetry::log_warning("run", "no progress for " + telemetry::in_time(now() - progress_s_) + "; who waits for whom:");
  for (const auto& line : telemetry::stall_report(all_waits(), gone, now()))
    telemetry::log_warning("run", "  " + line);
}

void coordinator_state::tick() {
  if (ended_)
    return;
  self_->delayed_send(self_, std::chrono::seconds(1), caf::tick_atom_v);
  try {
    config_.record->write_status(coordination_->scheduler(), coordination_->stopping() ? "stopping" : "running",
                                 role_states(), all_waits());
  } catch (const std::exception& error) {
    complain(error.what());
  }
  const double stall_after = config_.pipeline->run.stall_after_s;
  if (now() - std::max(progress_s_, stall_told_s_) > stall_after) {
    stall_told_s_ = now();
    report_stall();
  }
}

// -- the behaviour ---------------------------------------------------------------------------------------------------

coordinator_shell::behavior_type make_coordinator(coordinator_state::pointer self, coordinator_config config) {
  self->set_down_handler([self](caf::down_msg& down) { self->state.is_down(down.source); });
  // Whatever leaves a handler ends the run with its line: an actor that dies silently would leave everyone waiting.
  self->set_exception_handler([self](std::exception_ptr& thrown) -> caf::error {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& error) {
      self->state.fail(error.what());
    }
    return caf::exit_reason::user_shutdown;
  });
  self->state.prepare(self, std::move(config));
  return {
      [self](const begin_run& how) { self->state.begin(how); },
      [self](const join_run& ask) { return self->state.join(ask); },
      [self](const process_up& up) { self->state.process_is_up(up); },
      [self](const rollout_ready& ready) { self->state.rollout_is_ready(ready); },
      [self](const stage_ready& ready) { self->state.stage_is_ready(ready); },
      [self](const policy_ready& ready) { self->state.policy_is_ready(ready); },
      [self](const role_failed& failed) { self->state.role_has_failed(failed); },
      [self](const process_ended& ended) { self->state.process_has_ended(ended); },
      [self](const group_generated& generated) { self->state.group_is_generated(generated); },
      [self](const process_report& report) { self->state.take_report(report); },
      [self](const checkpoint_stored& stored) { self->state.checkpoint_is_stored(stored); },
      [self](const stop_run& why) { self->state.stop(why); },
      [self](caf::tick_atom) { self->state.tick(); },
      [](const continuation& rest) { rest.run(); },
  };
}

} // namespace millrace::actors
