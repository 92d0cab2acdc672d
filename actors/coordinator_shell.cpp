#include "actors/coordinator_shell.hpp"

#include "runtime/input_error.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/telemetry/waits.hpp"

#include <algorithm>
#include <unistd.h>

namespace millrace::actors {
namespace {

std::string all_of(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text;
}

telemetry::wait_record to_telemetry(const schedule::wait_record& wait) {
  return {wait.who, wait.what, all_of(wait.on), wait.since_s, 0};
}

} // namespace

group_graph graph_of(const pipeline::pipeline& p) {
  group_graph graph;
  for (const auto& role : p.roles) {
    if (const auto* rollout = std::get_if<pipeline::rollout_table>(&role.options))
      graph.rollouts.emplace(role.name, static_cast<std::int32_t>(rollout->answers_per_prompt));
    else if (std::holds_alternative<pipeline::demonstrations_table>(role.options))
      graph.rollouts.emplace(role.name, 1);
    else if (const auto* policy = std::get_if<pipeline::policy_table>(&role.options)) {
      graph.publishes = std::any_of(policy->publishes_to.begin(), policy->publishes_to.end(), [&](const auto& to) {
        return std::holds_alternative<pipeline::rollout_table>(p.at(to).options);
      });
      graph.policy = role.name;
      graph.policy_from = role.from;
    } else if (const auto* evaluation = std::get_if<pipeline::evaluation_table>(&role.options))
      graph.evaluations.push_back({role.name, static_cast<std::uint32_t>(evaluation->every), evaluation->at_start});
    else if (!std::holds_alternative<pipeline::source_table>(role.options))
      graph.stages.push_back({role.name, role.from});
  }
  return graph;
}

double coordinator_state::now() const { return telemetry::now_s(); }

std::chrono::milliseconds coordinator_state::deadline(double seconds) const {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

// -- what roles send -------------------------------------------------------------------------------------------------

void coordinator_state::group_is_generated(const group_generated& generated) {
  coordination_->generated(generated, now());
  progressed();
}

void coordinator_state::group_is_interrupted(const group_interrupted& interrupted) {
  coordination_->interrupted(interrupted, now());
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
  for (const auto& says : report.holdings)
    coordination_->holds(report.node, says, now());
  if (!report.transports.empty())
    telemetry::log_info(label, "data plane: " + report.transports);
}

// -- looking ---------------------------------------------------------------------------------------------------------

void coordinator_state::progressed() { progress_s_ = now(); }

std::vector<telemetry::wait_record> coordinator_state::all_waits() const {
  std::vector<telemetry::wait_record> waits;
  for (const auto& wait : coordination_->scheduler().waits()) {
    waits.push_back(to_telemetry(wait));
    if (wait.kind == schedule::wait_kind::training && round_.under_way())
      waits.back().on = round_.awaited();
    if (const auto sent = weights_sent_.find(wait.who); sent != weights_sent_.end() && wait.kind == schedule::wait_kind::weights && wait.on == std::vector<std::string>{"learner"}) {
      waits.back().who = "version " + std::to_string(sent->second); // published: it is the rollout's turn
      waits.back().what = "its flip";
      waits.back().on = wait.who;
    }
    if (wait.kind == schedule::wait_kind::columns) {
      const auto names = coordination_->working_on(std::stoull(wait.who.substr(wait.who.find(' ') + 1)));
      waits.back().on = all_of(names);
      if (names.empty())
        waits.back().what += ", and nobody works on it";
    }
  }
  for (const auto& [node, process] : processes_)
    for (auto wait : process.waits) {
      wait.since_s += process.clock_offset_s;
      waits.push_back(std::move(wait));
    }
  if (coordination_->ending())
    for (const auto& [who, version] : coordination_->evaluations().under_way())
      waits.push_back({"run", "evaluation of version " + std::to_string(version), who.name(), progress_s_, 0});
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
      const bool ready = rollouts_.contains(name) || stages_.contains(name) || evaluations_.contains(name)
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
  for (const auto& group : coordination_->suspected())
    telemetry::log_warning("run", "  " + telemetry::in_words(group, now()));
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
  coordination_->look_for_overdue(now());
  const double stall_after = config_.pipeline->run.stall_after_s;
  if (now() - std::max(progress_s_, stall_told_s_) > stall_after) {
    stall_told_s_ = now();
    report_stall();
    if (config_.pipeline->run.on_stall == "abort")
      fail("no progress for " + telemetry::in_time(now() - progress_s_) + " and run.on_stall = abort: who waited for whom is above; go on from the last checkpoint with `millrace resume`");
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
      [self](const critic_ready& ready) { self->state.critic_is_ready(ready); },
      [self](const reference_ready& ready) { self->state.reference_is_ready(ready); },
      [self](const evaluation_ready& ready) { self->state.evaluation_is_ready(ready); },
      [self](const evaluation_progress& progress) { self->state.evaluation_goes_on(progress); },
      [self](const role_failed& failed) { self->state.role_has_failed(failed); },
      [self](const process_ended& ended) { self->state.process_has_ended(ended); },
      [self](const group_generated& generated) { self->state.group_is_generated(generated); },
      [self](const group_interrupted& interrupted) { self->state.group_is_interrupted(interrupted); },
      [self](const process_report& report) { self->state.take_report(report); },
      [self](const checkpoint_stored& stored) { self->state.checkpoint_is_stored(stored); },
      [self](const stop_run& why) { self->state.stop(why); },
      [self](caf::tick_atom) { self->state.tick(); },
      [](const continuation& rest) { rest.run(); },
  };
}

} // namespace millrace::actors
