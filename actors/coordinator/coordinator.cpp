#include "actors/coordinator/coordinator.hpp"

#include "actors/coordinator/coordinator_state.hpp"
#include "runtime/pipeline/abilities.hpp"
#include "runtime/roles/learner_options.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/words/milliseconds.hpp"

#include <algorithm>

namespace millrace::actors {

group_graph graph_of(const pipeline::pipeline& p) {
  group_graph graph;
  graph.instances = 0;
  for (const auto& role : p.roles) {
    const auto can = pipeline::abilities_of(role);
    if (can.answers) {
      if (!can.environment.empty())
        graph.environments.emplace(role.name, std::string(can.environment));
      graph.generators.emplace(role.name, *can.answers);
      graph.instances += static_cast<std::size_t>(std::max<std::int64_t>(1, p.processes_of(role.name)));
    } else if (can.evaluates)
      graph.evaluations.push_back({role.name, can.evaluates->every, can.evaluates->at_start});
    else if (can.leads) {
      graph.leader = role.name;
      graph.leader_from = role.from;
    } else if (can.adds_columns)
      graph.adders.push_back({role.name, role.from});
  }
  graph.publishes = std::any_of(p.roles.begin(), p.roles.end(), [](const auto& role) {
    const auto can = pipeline::abilities_of(role);
    return can.answers && can.takes_weights;
  });
  graph.columns_stay = !graph.leader.empty() && roles::ranks_share_groups(p);
  graph.flips_in_flight = p.schedule.interrupt.mode == schedule::interrupt_mode::pause;
  return graph;
}

coordinator_state::coordinator_state(actor& self, coordinator_config config)
    : self_(self), config_(std::move(config)), storage_(std::make_unique<roles::job_thread>()),
      connecting_(std::make_unique<roles::job_thread>()), step_(config_.within_step),
      unscored_(pipeline::max_failures_of(*config_.pipeline)), prompt_results_(*config_.pipeline), begun_s_(now()),
      progress_s_(begun_s_), checkpoint_asked_s_(begun_s_) {
  const auto& p = *config_.pipeline;
  auto graph = graph_of(p);
  leader_role_ = graph.leader;
  ranks_share_groups_ = graph.columns_stay;
  router_ = std::make_unique<group_router>(std::move(graph), std::move(*config_.scheduler),
                                           static_cast<std::uint64_t>(p.run.seed), *this);
  for (const auto& [role, points] : config_.record->evaluations())
    router_->already_evaluated(role, static_cast<std::uint32_t>(points.back().version));
}

double coordinator_state::now() const {
  return telemetry::now_s();
}

std::chrono::milliseconds coordinator_state::request_deadline() const {
  return milliseconds_of(config_.pipeline->run.request_deadline_s);
}

std::chrono::milliseconds coordinator_state::stall_deadline() const {
  return milliseconds_of(config_.pipeline->run.stall_after_s);
}

std::chrono::milliseconds coordinator_state::join_deadline() const {
  return milliseconds_of(config_.pipeline->run.join_deadline_s);
}

std::chrono::milliseconds coordinator_state::work_deadline() const {
  return 10 * stall_deadline();
}

// -- roles by what they can do ---------------------------------------------------------------------------------------

const role_ready* coordinator_state::leader() const {
  const auto found =
      std::find_if(roles_.begin(), roles_.end(), [this](const auto& entry) { return is_leader(entry.second); });
  return found == roles_.end() ? nullptr : &found->second;
}

const role_ready* coordinator_state::find(const role_instance& who) const {
  const auto found = roles_.find(who.name());
  return found == roles_.end() ? nullptr : &found->second;
}

void coordinator_state::each_trainer(const visit_role& visit) const {
  for (const auto& [name, role] : roles_)
    if (role.trainer)
      visit(role);
}

void coordinator_state::each_follower(const visit_role& visit) const {
  for (const auto& [name, role] : roles_)
    if (role.weights_taker && !role.generator && !role.evaluator)
      visit(role);
}

void coordinator_state::each_state_keeper(const visit_role& visit) const {
  for (const auto& [name, role] : roles_)
    if (role.state_keeper)
      visit(role);
}

bool coordinator_state::models_are_loaded() const {
  const auto& all = config_.pipeline->roles;
  return std::all_of(all.begin(), all.end(), [this](const auto& role) {
    if (!pipeline::abilities_of(role).trains)
      return true;
    for (std::int64_t i = 0; i < std::max<std::int64_t>(1, config_.pipeline->processes_of(role.name)); ++i)
      if (!find({role.name, static_cast<std::uint32_t>(i), 0}))
        return false;
    return true;
  });
}

// -- the actor -------------------------------------------------------------------------------------------------------

actor::setup coordinator(coordinator_config config) {
  return [config = std::make_shared<coordinator_config>(std::move(config))](actor& self, inbox& in) {
    const auto state = std::make_shared<coordinator_state>(self, std::move(*config));
    // Whatever leaves a handler ends the run with its line: an actor that dies silently would leave everyone waiting.
    in.on_exception([state](const std::string& line) { state->fail(line); });
    in.on<begin_run>([state](const begin_run& how) { state->begin(how); });
    in.on<join_run>([state](const join_run& ask) { return state->join(ask); });
    in.on<join_as_node>([state](const join_as_node& ask) { return state->node_joins(ask); });
    in.on<process_up>([state](const process_up& up) { state->process_is_up(up); });
    in.on<role_ready>([state](const role_ready& ready) { state->role_is_ready(ready); });
    in.on<evaluation_progress>([state](const evaluation_progress& progress) { state->evaluation_goes_on(progress); });
    in.on<rank_word>([state](const rank_word& word) { state->pass_on(word); });
    in.on<ranks_lost>([state](const ranks_lost& what) { state->ranks_are_lost(what); });
    in.on<role_failed>([state](const role_failed& failed) { state->role_has_failed(failed); });
    in.on<process_failed>([state](const process_failed& failed) {
      state->process_has_failed(failed);
      return failure_noted{};
    });
    in.on<process_ended>([state](const process_ended& ended) { state->process_has_ended(ended); });
    in.on<group_generated>([state](const group_generated& generated) { state->group_is_generated(generated); });
    in.on<group_interrupted>([state](const group_interrupted& what) { state->group_is_interrupted(what); });
    in.on<generation_lost>([state](const generation_lost& what) { state->generation_is_lost(what); });
    in.on<process_report>([state](const process_report& report) { state->take_report(report); });
    in.on<checkpoint_stored>([state](const checkpoint_stored& stored) { state->checkpoint_is_stored(stored); });
    in.on<stop_run>([state](const stop_run& why) { state->stop(why); });
  };
}

} // namespace millrace::actors
