#include "actors/role_table.hpp"

#include "actors/critic_shell.hpp"
#include "actors/demonstrations.hpp"
#include "actors/evaluation_shell.hpp"
#include "actors/policy_shell.hpp"
#include "actors/reference_shell.hpp"
#include "actors/reward_model.hpp"
#include "actors/role_model.hpp"
#include "actors/rollout_shell.hpp"
#include "actors/rule_verifier.hpp"
#include "actors/stage_shell.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/train/trainable.hpp"

#include <caf/send.hpp>

#include <algorithm>

namespace millrace::actors {
namespace {

void start_stage(caf::actor_system& system, const role_context& context, std::shared_ptr<stage_work> work) {
  const auto handle = system.spawn(make_stage, context, std::move(work));
  caf::anon_send(context.coordinator, stage_ready{context.who, context.node, caf::actor_cast<stage_actor>(handle)});
}

// One overload a kind of role: the row of the table that makes it an actor. (The source is the coordinator's neighbour
// and is started with it.)

void start(caf::actor_system&, const role_context&, const pipeline::source_table&) {}

void start(caf::actor_system& system, const role_context& context, const pipeline::rollout_table& table) {
  auto words = load_model(*context.pipeline, table.model, false);
  model::chat_of(words); // an unknown template is an error now, not at the first prompt
  const auto handle = system.spawn(make_rollout, context, std::move(words));
  caf::anon_send(context.coordinator, rollout_ready{context.who, context.node, caf::actor_cast<rollout_actor>(handle),
                                                    pipeline::places_of(table, context.pipeline->schedule)});
}

void start(caf::actor_system& system, const role_context& context, const pipeline::demonstrations_table& table) {
  auto words = load_model(*context.pipeline, table.model, false);
  model::chat_of(words);
  const auto& schedule = context.pipeline->schedule;
  const auto capacity = static_cast<std::uint32_t>(static_cast<double>(schedule.groups_per_step) * (std::min(schedule.gate.depth, 1000.0) + 1));
  const auto handle = system.spawn(make_demonstrations, context, std::move(words));
  caf::anon_send(context.coordinator, rollout_ready{context.who, context.node, handle, capacity});
}

void start(caf::actor_system& system, const role_context& context, const pipeline::rule_verifier_table& table) {
  start_stage(system, context, std::make_shared<rule_verifier>(table));
}

void start(caf::actor_system& system, const role_context& context, const pipeline::reference_table& table) {
  const reference_core core{std::make_shared<reference_weights>(table, load_model(*context.pipeline, table.model, true),
                                                                pipeline::sampling_temperature(*context.pipeline), context.threads(),
                                                                train::device_named(context.pipeline->run.device)),
                            std::make_shared<job_thread>()};
  if (!table.follows()) {
    start_stage(system, context, std::make_shared<reference>(core));
    return;
  }
  if (!context.checkpoint.empty())
    core.weights->read_checkpoint(context.checkpoint, context.who.role);
  const auto scores = system.spawn(make_stage, context, std::make_shared<reference>(core));
  const auto follower = system.spawn(make_reference, context, core);
  caf::anon_send(context.coordinator, reference_ready{context.who, context.node, caf::actor_cast<stage_actor>(scores),
                                                      caf::actor_cast<reference_actor>(follower)});
}

void start(caf::actor_system& system, const role_context& context, const pipeline::evaluation_table& table) {
  auto work = std::make_shared<const evaluation_work>(table, load_model(*context.pipeline, table.model, false));
  if (work->skipped() > 0)
    telemetry::log_warning(context.who.name(), std::to_string(work->skipped()) + " rows skipped, the first: " + work->skipped_first());
  const auto rows = work->rows();
  const auto handle = system.spawn(make_evaluation, context, std::move(work));
  caf::anon_send(context.coordinator, evaluation_ready{context.who, context.node, caf::actor_cast<evaluation_actor>(handle), rows});
}

void start(caf::actor_system& system, const role_context& context, const pipeline::reward_model_table& table) {
  start_stage(system, context, reward_model::load(*context.pipeline, table, context.threads()));
}

void start(caf::actor_system& system, const role_context& context, const pipeline::critic_table& table) {
  const critic_core core{std::make_shared<critic_learning>(*context.pipeline, table, context.checkpoint, context.threads()),
                         std::make_shared<job_thread>()};
  const auto values = system.spawn(make_stage, context, std::make_shared<critic_values>(core));
  const auto trained = system.spawn(make_critic, context, core);
  caf::anon_send(context.coordinator,
                 critic_ready{context.who, context.node, caf::actor_cast<stage_actor>(values),
                              caf::actor_cast<critic_actor>(trained), core.learner->parameter_count()});
}

void start(caf::actor_system& system, const role_context& context, const pipeline::policy_table&) {
  auto learner = std::make_shared<learning>(*context.pipeline, context.checkpoint, context.threads());
  const auto parameters = learner->parameter_count();
  const auto handle = system.spawn(make_policy, context, std::move(learner));
  caf::anon_send(context.coordinator,
                 policy_ready{context.who, context.node, caf::actor_cast<policy_actor>(handle), parameters});
}

} // namespace

void start_role(caf::actor_system& system, role_context context) {
  try {
    std::visit([&](const auto& table) { start(system, context, table); }, context.role().options);
  } catch (const std::exception& error) {
    caf::anon_send(context.coordinator, role_failed{context.who, error.what()});
  }
}

} // namespace millrace::actors
