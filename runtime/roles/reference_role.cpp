#include "runtime/roles/reference_role.hpp"

#include "runtime/roles/published_versions.hpp"
#include "runtime/roles/role_kinds.hpp"
#include "runtime/roles/thread_answer.hpp"
#include "runtime/words/input_error.hpp"

#include <future>
#include <utility>

namespace millrace::roles {

reference_role::reference_role(const role_setup& setup, const pipeline::reference_table& table)
    : setup_(setup), core_(reference_core::load(*setup.pipeline, setup.role(), setup.threads())),
      versions_(*setup.data, parts_pulled(*setup.pipeline, false), merging_.weak_poster()) {
  if (table.follows() && !setup.checkpoint.empty())
    core_.read_checkpoint(setup.checkpoint, setup.who.role);
}

void reference_role::add(const process_group&, columns::column_set columns, answer_to<added_columns> done) {
  thread_.post([this, columns = std::move(columns), done = std::move(done)] {
    answer_now<added_columns>(done, [&] { return added_columns{.columns = core_.logprob_columns(columns)}; });
  });
}

model::weights reference_role::pulled(const new_weights& what) {
  std::promise<std::pair<columns::pulled_weights, std::string>> arrived;
  versions_.pull(what.version, what.parameters, setup_.deadline(),
                 [&](columns::pulled_weights weights, std::string error) {
                   arrived.set_value({std::move(weights), std::move(error)});
                 });
  const auto [weights, error] = arrived.get_future().get(); // the data plane answers within the deadline
  if (!error.empty())
    throw input_error(error);
  return columns::weights_of(weights);
}

void reference_role::take(const new_weights& ask, answer_to<weights_live> done) {
  answer_from<weights_live>(thread_,
                            {.track = setup_.who.name(),
                             .what = "follow version " + std::to_string(ask.version),
                             .cause = telemetry::cause::transfer},
                            std::move(done), [this, ask] {
                              if (core_.wants(ask.version))
                                core_.follow(ask.version, pulled(ask));
                              return weights_live{.version = ask.version};
                            });
}

void reference_role::write(const write_checkpoint& ask, answer_to<checkpoint_written> done) {
  write_state(thread_, setup_.who, ask, std::move(done),
              [this](const std::filesystem::path& folder) { core_.write_checkpoint(folder, setup_.who.role); });
}

role_abilities made(const role_setup& setup, const pipeline::reference_table& table) {
  const auto role = std::make_shared<reference_role>(setup, table);
  if (!table.follows())
    return {.adds_columns = role};
  return {.adds_columns = role, .takes_weights = role, .keeps_state = role};
}

} // namespace millrace::roles
