#include "actors/roles/source_actor.hpp"

#include "runtime/pipeline/abilities.hpp"
#include "runtime/roles/source_role.hpp"

#include <algorithm>

namespace millrace::actors {

actor::setup source_actor(const pipeline::pipeline& p, std::shared_ptr<transport::data_plane> data,
                          std::optional<source_position> from) {
  const auto role = std::find_if(p.roles.begin(), p.roles.end(),
                                 [](const auto& r) { return pipeline::abilities_of(r).gives_prompts; });
  const auto core = std::make_shared<roles::source_role>(p, *role, from);
  return [core, data = std::move(data)](actor&, inbox& in) {
    in.on<take_prompt>([core, data](const take_prompt& ask) {
      auto prompt = core->take(ask.index);
      if (!prompt.row.exhausted)
        prompt.row.columns = data->publish(std::move(prompt.columns));
      return prompt.row;
    });
    in.on<prompts_measured>([core](const prompts_measured& results) { core->measured(results); });
    in.on<find_position>([core](const find_position& ask) { return core->position_of(ask.index); });
  };
}

} // namespace millrace::actors
