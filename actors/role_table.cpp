#include "actors/role_table.hpp"

#include "actors/policy_shell.hpp"
#include "actors/reference.hpp"
#include "actors/rollout_shell.hpp"
#include "actors/rule_verifier.hpp"
#include "actors/stage_shell.hpp"
#include "runtime/input_error.hpp"

#include <caf/send.hpp>

namespace millrace::actors {
namespace {

/// A model's words, with the chat template that the pipeline names instead of its own.
model::checkpoint load_model(const role_context& context, const std::string& name, bool weights) {
  const auto& table = context.pipeline->models.at(name);
  auto loaded = model::load_checkpoint(table.path, {weights});
  if (!loaded.tok)
    throw input_error(table.path.string() + ": holds no tokenizer");
  if (!table.chat_template.empty())
    loaded.chat = model::named_chat_template(table.chat_template);
  return loaded;
}

void start_stage(caf::actor_system& system, const role_context& context, std::shared_ptr<stage_work> work) {
  const auto handle = system.spawn(make_stage, context, std::move(work));
  caf::anon_send(context.coordinator, stage_ready{context.who, context.node, caf::actor_cast<stage_actor>(handle)});
}

// One overload a kind of role: the row of the table that makes it an actor. (The source is the coordinator's neighbour
// and is started with it.)

void start(caf::actor_system&, const role_context&, const pipeline::source_table&) {}

void start(caf::actor_system& system, const role_context& context, const pipeline::rollout_table& table) {
  auto words = load_model(context, table.model, false);
  model::chat_of(words); // an unknown template is an error now, not at the first prompt
  const auto handle = system.spawn(make_rollout, context, std::move(words));
  caf::anon_send(context.coordinator, rollout_ready{context.who, context.node, caf::actor_cast<rollout_actor>(handle),
                                                    capacity_groups(table)});
}

void start(caf::actor_system& system, const role_context& context, const pipeline::rule_verifier_table& table) {
  start_stage(system, context, std::make_shared<rule_verifier>(table));
}

void start(caf::actor_system& system, const role_context& context, const pipeline::reference_table& table) {
  const auto loaded = load_model(context, table.model, true);
  auto frozen = std::make_shared<model::decoder>(loaded.config, loaded.parameters);
  frozen->pack();
  const auto* rollout = context.pipeline->of<pipeline::rollout_table>().at(0);
  const double temperature = std::get<pipeline::rollout_table>(rollout->options).temperature;
  start_stage(system, context, std::make_shared<reference>(std::move(frozen), temperature, context.threads()));
}

void start(caf::actor_system& system, const role_context& context, const pipeline::policy_table&) {
  auto learner = std::make_shared<learning>(*context.pipeline, context.checkpoint, context.threads());
  const auto parameters = learner->parameter_count();
  const auto handle = system.spawn(make_policy, context, std::move(learner));
  caf::anon_send(context.coordinator,
                 policy_ready{context.who, context.node, caf::actor_cast<policy_actor>(handle), parameters});
}

} // namespace

std::uint32_t capacity_groups(const pipeline::rollout_table& table) {
  return static_cast<std::uint32_t>((table.slots + table.answers_per_prompt - 1) / table.answers_per_prompt + 1);
}

void start_role(caf::actor_system& system, role_context context) {
  try {
    std::visit([&](const auto& table) { start(system, context, table); }, context.role().options);
  } catch (const std::exception& error) {
    caf::anon_send(context.coordinator, role_failed{context.who, error.what()});
  }
}

} // namespace millrace::actors
