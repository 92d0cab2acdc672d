#include "actors/replay.hpp"

#include "actors/coordination.hpp"
#include "actors/generation.hpp"
#include "actors/reference_shell.hpp"
#include "actors/role_model.hpp"
#include "actors/rule_verifier.hpp"
#include "actors/weights_bundle.hpp"
#include "runtime/input_error.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/train/trainable.hpp"

#include <algorithm>
#include <future>
#include <optional>
#include <span>
#include <stdexcept>

namespace millrace::actors {
namespace {

using flips = std::vector<train::version_run>;

std::string in_words(std::uint64_t group) { return "group " + std::to_string(group); }

const pipeline::role& only_rollout(const pipeline::pipeline& p) {
  const auto rollouts = p.of<pipeline::rollout_table>();
  if (rollouts.size() != 1)
    throw input_error("replay makes runs with one rollout role again; this pipeline has " + std::to_string(rollouts.size()));
  return *rollouts.front();
}

/// The role's work on a group; nullptr for roles that add no column between rollout and policy.
/// @throws input_error for a role whose columns depend on more than the group
std::shared_ptr<stage_work> stage_work_of(const pipeline::pipeline& p, const pipeline::role& role) {
  if (const auto* rules = std::get_if<pipeline::rule_verifier_table>(&role.options))
    return std::make_shared<rule_verifier>(*rules);
  if (const auto* table = std::get_if<pipeline::reference_table>(&role.options); table && !table->follows())
    return std::make_shared<reference>(reference_core{
        std::make_shared<reference_weights>(*table, model::load_checkpoint(p.models.at(table->model).path), pipeline::sampling_temperature(p), 1,
                                            train::device_named(p.run.device)),
        std::make_shared<job_thread>()});
  for (const std::string_view kind : {pipeline::source_table::kind, pipeline::rollout_table::kind, pipeline::policy_table::kind,
                                      pipeline::evaluation_table::kind})
    if (role.kind() == kind)
      return nullptr;
  throw input_error("roles." + role.name + ": replay cannot make a " + std::string(role.kind()) +
                    (role.kind() == pipeline::reference_table::kind ? " that follows the policy" : "") + " again");
}

/// Answers of one group that new weights met at the same tokens, made together: a flip falls between two tokens, and what
/// was handed over and went on has its keys and values computed anew, as a flip with `recompute` does.
/// @param others answers that are not wanted, as ended; nothing: all are
std::vector<rollout::answer> made_with(rollout::engine engine, const rollout::group_request& request,
                                       std::optional<rollout::partial_group> others, const flips& runs,
                                       const std::function<std::shared_ptr<const model::decoder>(std::uint32_t)>& policy_of) {
  engine.admit(request, std::move(others));
  std::size_t run = 0;
  std::uint32_t left = runs.empty() ? 0 : runs.front().tokens;
  while (!engine.idle()) {
    if (left == 0 && run + 1 < runs.size()) {
      ++run;
      left = runs[run].tokens;
      engine.stage(policy_of(runs[run].version), runs[run].version,
                   runs[run].recomputed ? rollout::running_cache::recompute : rollout::running_cache::keep);
    }
    auto done = engine.step();
    if (engine.last_step().sampled_tokens > 0 && left > 0)
      --left;
    if (!done.empty())
      return std::move(done.front().answers);
  }
  throw std::logic_error("the engine lost " + in_words(request.group));
}

} // namespace

replay::replay(const pipeline::pipeline& p, int learner_threads)
    : pipeline_(p), rollout_role_(only_rollout(p)), learning_(p, {}, learner_threads),
      words_(load_model(p, std::get<pipeline::rollout_table>(rollout_role_.options).model, false)),
      requests_(p, std::get<pipeline::rollout_table>(rollout_role_.options), words_),
      source_(p, *p.of<pipeline::source_table>().at(0), std::nullopt) {
  for (const auto& role : p.roles)
    if (auto work = stage_work_of(p, role))
      stages_.push_back({&role, std::move(work)});
}

replay::shared_policy replay::policy_of(std::uint32_t version) {
  if (const auto known = policies_.find(version); known != policies_.end())
    return known->second;
  if (version != version_)
    throw input_error("version " + std::to_string(version) + " is wanted and the learner is at version " + std::to_string(version_));
  return policies_[version] = model::inference_decoder(words_.config, weights_of(learning_.snapshot(version)),
                                                       train::device_named(pipeline_.run.device));
}

prompt_row replay::row_of(std::uint64_t group) {
  for (; next_row_ <= group; ++next_row_)
    rows_[next_row_] = source_.take(next_row_);
  const auto found = rows_.find(group);
  if (found == rows_.end() || found->second.exhausted)
    throw input_error(in_words(group) + ": there is no such prompt (any more)");
  return found->second;
}

rollout::finished_group replay::generate(rollout::group_request request, const train::lineage& recorded) {
  std::optional<rollout::partial_group> others;
  if (!recorded.kept.empty()) { // of what was begun only what was kept is made
    if (recorded.kept.size() != recorded.answers.size())
      throw input_error(in_words(recorded.group) + ": the record has another number of answers than of those that were kept");
    request.answers = static_cast<std::int32_t>(recorded.kept.back() + 1);
    const auto begun = static_cast<std::size_t>(request.answers);
    rollout::answer ended;
    ended.tokens = {0};
    ended.logprob = {0};
    ended.version = {0};
    others = rollout::partial_group{request.group, std::vector<rollout::answer>(begun, ended), std::vector<std::uint8_t>(begun, 1)};
    for (const auto index : recorded.kept) {
      others->answers.at(index) = {};
      others->ended.at(index) = 0;
    }
  }
  std::vector<flips> kinds; // answers under way when weights changed may have been at different tokens
  for (const auto& runs : recorded.answers)
    if (std::find(kinds.begin(), kinds.end(), runs) == kinds.end())
      kinds.push_back(runs);
  rollout::finished_group out;
  out.group = request.group;
  out.prompt_tokens = static_cast<std::int64_t>(request.prompt.size());
  out.answers.resize(recorded.answers.size());
  for (const flips& runs : kinds) {
    const std::uint32_t first = runs.empty() ? version_ : runs.front().version;
    auto options = requests_.engine_options(1);
    options.slots = std::max(options.slots, request.answers); // all at once: none waits while weights change
    options.prefill_rows = options.max_context * request.answers; // and none is computed anew sooner than another
    auto answers = made_with(rollout::engine(policy_of(first), words_.tok, first, options), request, others, runs,
                             [this](std::uint32_t version) { return policy_of(version); });
    for (std::size_t i = 0; i < out.answers.size(); ++i)
      if (const std::size_t index = recorded.kept.empty() ? i : recorded.kept[i]; recorded.answers[i] == runs && index < answers.size())
        out.answers[i] = std::move(answers[index]);
  }
  out.kept.assign(recorded.kept.begin(), recorded.kept.end());
  return out;
}

train::training_group replay::make(const train::lineage& recorded) {
  const prompt_row row = row_of(recorded.group);
  const auto& table = std::get<pipeline::rollout_table>(rollout_role_.options);
  generate_group ask;
  ask.group = recorded.group;
  ask.prompt = row.prompt;
  ask.answers = static_cast<std::int32_t>(table.answers_per_prompt);
  ask.seed = group_seed(static_cast<std::uint64_t>(pipeline_.run.seed), recorded.group);
  const auto request = requests_.make(ask);
  std::vector<transport::bundle> columns{columns_of(request.prompt, generate(request, recorded), static_cast<std::size_t>(requests_.greedy()))};
  process_group group;
  group.group = recorded.group;
  group.answer = row.answer;
  for (const auto& stage : stages_) {
    std::promise<stage_result> promised;
    stage.work->process(group, column_set(columns), [&](stage_result result) { promised.set_value(std::move(result)); });
    auto result = promised.get_future().get();
    if (!result.error.empty())
      throw input_error("roles." + stage.role->name + ": " + in_words(recorded.group) + ": " + result.error);
    columns.push_back(std::move(result.added));
  }
  const auto& policy = std::get<pipeline::policy_table>(pipeline_.policy().options);
  auto made = training_group_of(recorded.group, column_set(std::move(columns)), policy.mask_truncated, policy.rewards);
  made.domain = row.data_source;
  return made;
}

replayed_step replay::step(const train::step_lineage& recorded, std::uint32_t oldest_needed) {
  replayed_step out;
  std::erase_if(policies_, [&](const auto& entry) { return entry.first < oldest_needed; });
  policy_of(version_); // before training changes the parameters: later answers may have begun with them
  train_batch batch{recorded.step, recorded.version, {}, recorded.part, recorded.ends_step, recorded.mask, recorded.train_from};
  for (const auto& lineage : recorded.groups) {
    auto group = make(lineage);
    const auto again = train::lineage_of(group);
    if (again != lineage) {
      out.group = lineage.group;
      out.difference = again.answers == lineage.answers
                           ? "the same versions sampled as many tokens, but tokens, log-probabilities or rewards differ"
                           : "answers of other lengths";
      return out;
    }
    learning_.keep(std::move(group));
    batch.groups.push_back(lineage.group);
    rows_.erase(lineage.group);
  }
  out.report = learning_.train(batch, {});
  if (recorded.ends_step)
    version_ = recorded.version + 1;
  return out;
}

} // namespace millrace::actors
