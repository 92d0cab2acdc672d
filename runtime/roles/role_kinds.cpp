#include "runtime/roles/role_kinds.hpp"

#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/roles/critic_role.hpp"
#include "runtime/roles/demonstrations.hpp"
#include "runtime/roles/evaluation_role.hpp"
#include "runtime/roles/policy_role.hpp"
#include "runtime/roles/reference_role.hpp"
#include "runtime/roles/reward_model.hpp"
#include "runtime/roles/rollout_role.hpp"
#include "runtime/roles/rule_verifier.hpp"

#include <algorithm>
#include <memory>
#include <variant>

namespace millrace::roles {
namespace {

// One overload a kind of role. A kind without one does not compile.

role_abilities made(const role_setup&, const pipeline::source_table&) {
  return {};
}

role_abilities made(const role_setup& setup, const pipeline::rollout_table& table) {
  const auto role = std::make_shared<rollout_role>(setup, table);
  return {.generates = role, .takes_weights = role, .places = pipeline::places_of(table, setup.pipeline->schedule)};
}

role_abilities made(const role_setup& setup, const pipeline::demonstrations_table& table) {
  const auto role = std::make_shared<demonstrations_role>(setup, table);
  const auto& schedule = setup.pipeline->schedule;
  const double ahead = std::min(schedule.gate.depth, 1000.0);
  return {.generates = role,
          .takes_weights = role,
          .places = static_cast<std::uint32_t>(static_cast<double>(schedule.groups_per_step) * (ahead + 1))};
}

role_abilities made(const role_setup& setup, const pipeline::rule_verifier_table& table) {
  return {.adds_columns = std::make_shared<rule_verifier>(table, columns::wanted_by(setup.role()))};
}

role_abilities made(const role_setup& setup, const pipeline::reward_model_table& table) {
  return {.adds_columns = reward_model::load(*setup.pipeline, table, setup.threads())};
}

role_abilities made(const role_setup& setup, const pipeline::reference_table& table) {
  const auto role = std::make_shared<reference_role>(setup, table);
  if (!table.follows())
    return {.adds_columns = role};
  return {.adds_columns = role, .takes_weights = role, .keeps_state = role};
}

role_abilities made(const role_setup& setup, const pipeline::critic_table& table) {
  const auto role = std::make_shared<critic_role>(setup, table);
  return {.adds_columns = role, .trains = role, .keeps_state = role};
}

role_abilities made(const role_setup& setup, const pipeline::policy_table&) {
  const auto role = std::make_shared<policy_role>(setup);
  return {.trains = role, .gives_weights = role, .keeps_state = role};
}

role_abilities made(const role_setup& setup, const pipeline::evaluation_table& table) {
  const auto role = std::make_shared<evaluation_role>(setup, table);
  return {.takes_weights = role, .evaluates = role};
}

} // namespace

role_abilities make_role(const role_setup& setup) {
  return std::visit([&](const auto& table) { return made(setup, table); }, setup.role().options);
}

} // namespace millrace::roles
