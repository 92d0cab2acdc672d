#include "runtime/roles/evaluation_role.hpp"

#include "runtime/model/inference_decoder.hpp"
#include "runtime/pipeline/located.hpp"
#include "runtime/roles/published_versions.hpp"
#include "runtime/roles/role_kinds.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/roles/rule_verifier_role.hpp"
#include "runtime/roles/thread_answer.hpp"
#include "runtime/telemetry/log.hpp"

#include <sys/resource.h>

#include <map>
#include <stdexcept>
#include <utility>

namespace millrace::roles {
namespace {

/// Of the role's set-up what its jobs need: nothing that owns the data plane, on whose thread a handler may end.
struct evaluation_setup {
  role_instance who;
  role_events events;
  at::Device device;
  std::size_t answers_kept = 0;
};

version_evaluated figures_of(const evaluation_core& core, const evaluation_setup& setup, version_id version,
                             const columns::pulled_weights& parameters, std::stop_token stop) {
  const double start = telemetry::now_s();
  double told = start;
  std::map<std::size_t, std::string> answers; // prompts end in any order
  const auto tally = core.run(
      model::inference_decoder(core.words().config, columns::weights_of(parameters), setup.device),
      [&](std::size_t done) {
        if (telemetry::now_s() - told < 1 && done < core.rows())
          return;
        told = telemetry::now_s();
        setup.events.progress({.who = setup.who, .version = version, .done = done, .rows = core.rows()});
      },
      stop,
      [&](const held_out_row& row, const std::vector<held_out_answer>& said) {
        if (row.index < setup.answers_kept)
          answers.emplace(row.index, answers_line(row, said));
      });
  if (stop.stop_requested())
    throw std::runtime_error("stopped");
  version_evaluated result{
      .version = version, .figures = tally.figures(), .tokens = tally.tokens(), .seconds = telemetry::now_s() - start};
  for (auto& [index, line] : answers)
    result.answers.push_back(std::move(line));
  return result;
}

std::shared_ptr<const evaluation_core> core_of(const role_setup& setup, const pipeline::evaluation_table& table) {
  auto words = load_text_model(*setup.pipeline, table.model);
  auto player = player_of(table, *setup.pipeline);
  return pipeline::located(*setup.pipeline, pipeline::rows_key(table, "roles." + setup.who.role), [&] {
    return std::make_shared<const evaluation_core>(table, std::move(words), std::move(player));
  });
}

} // namespace

evaluation_role::evaluation_role(const role_setup& setup, const pipeline::evaluation_table& table)
    : setup_(setup), answers_kept_(static_cast<std::size_t>(table.answers_kept)),
      device_(device_for(*setup.pipeline, setup.role(), table.model)), core_(core_of(setup, table)),
      versions_(*setup.data, parts_pulled(*setup.pipeline, false), merging_.weak_poster()),
      thread_(std::make_shared<job_thread>()) {
  device_for(*setup.pipeline, setup.role(), word(table.cache_dtype), "roles." + setup.who.role + ".cache_dtype");
  if (core_->skipped() > 0)
    telemetry::log_warning(setup_.who.name(),
                           std::to_string(core_->skipped()) + " rows skipped, the first: " + core_->skipped_first());
  // Linux: the calling thread's own priority, inherited by those it starts.
  for (auto* const thread : {&merging_, thread_.get()})
    thread->post([] { setpriority(PRIO_PROCESS, 0, lower_priority); });
}

void evaluation_role::take(const new_weights& ask, answer_to<weights_live> done) {
  const double start = telemetry::now_s();
  versions_.pull(ask.version, ask.parameters, setup_.deadline(),
                 [version = ask.version, start, done = std::move(done), taken = taken_](columns::pulled_weights pulled,
                                                                                        const std::string& error) {
                   if (!error.empty()) {
                     done({}, error);
                     return;
                   }
                   {
                     const std::lock_guard lock(taken->mutex);
                     taken->version = version;
                     taken->parameters = std::move(pulled);
                   }
                   done({.version = version, .pull_s = telemetry::now_s() - start}, "");
                 });
}

void evaluation_role::evaluate(const evaluate_version& ask, answer_to<version_evaluated> done) {
  answer_from<version_evaluated>(
      *thread_,
      {.track = setup_.who.name(),
       .what = "evaluate version " + std::to_string(ask.version),
       .cause = telemetry::cause::compute},
      std::move(done),
      [version = ask.version, core = core_, taken = taken_, stop = stop_.get_token(),
       setup = evaluation_setup{
           .who = setup_.who, .events = setup_.events, .device = device_, .answers_kept = answers_kept_}] {
        columns::pulled_weights parameters;
        {
          const std::lock_guard lock(taken->mutex);
          if (taken->version != version || taken->parameters.empty())
            throw std::runtime_error("the weights of version " + std::to_string(version) + " have not been taken");
          parameters = taken->parameters;
        }
        return figures_of(*core, setup, version, parameters, stop);
      });
}

role_abilities made(const role_setup& setup, const pipeline::evaluation_table& table) {
  const auto role = std::make_shared<evaluation_role>(setup, table);
  start(role->rules(), *setup.pipeline, setup.who.role); // better than an evaluation without a figure
  return {.takes_weights = role, .evaluates = role};
}

} // namespace millrace::roles
