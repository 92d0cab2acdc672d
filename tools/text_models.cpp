#include "tools/text_models.hpp"

#include "runtime/roles/role_model.hpp"

#include <algorithm>

namespace millrace::tools {
namespace {

/// The model of a role that makes tokens; "" = it makes none.
std::string written_with(const pipeline::role& role) {
  if (const auto* rollout = std::get_if<pipeline::rollout_table>(&role.options))
    return rollout->model;
  if (const auto* demonstrations = std::get_if<pipeline::demonstrations_table>(&role.options))
    return demonstrations->model;
  const auto* evaluation = std::get_if<pipeline::evaluation_table>(&role.options);
  return evaluation ? evaluation->model : "";
}

/// The model of the nearest role upstream that makes tokens.
std::string model_upstream(const pipeline::pipeline& p, const pipeline::role& role) {
  if (auto model = written_with(role); !model.empty())
    return model;
  for (const auto& from : role.from)
    if (auto model = model_upstream(p, p.at(from)); !model.empty())
      return model;
  return {};
}

} // namespace

std::vector<pipeline::stage> with_starting_models(std::vector<pipeline::stage> stages) {
  for (auto& stage : stages)
    stage.what = pipeline::with_references(std::move(stage.what), [&](const pipeline::stage_reference& reference) {
      const auto earlier = std::find_if(stages.begin(), stages.end(),
                                        [&](const pipeline::stage& each) { return each.name == reference.stage; });
      const auto& p = earlier->what;
      return p.models.at(std::get<pipeline::policy_table>(p.policy().options).model).path;
    });
  return stages;
}

model::checkpoint text_model_of(const pipeline::pipeline& p, const pipeline::role& role) {
  const auto upstream = model_upstream(p, role);
  return roles::load_text_model(p, upstream.empty() ? std::get<pipeline::policy_table>(p.policy().options).model
                                                    : upstream);
}

} // namespace millrace::tools
