#include "actors/replay.hpp"

#include "actors/coordination.hpp"
#include "actors/demonstrations.hpp"
#include "actors/generation.hpp"
#include "actors/reference_shell.hpp"
#include "actors/reward_model.hpp"
#include "actors/role_model.hpp"
#include "actors/rule_verifier.hpp"
#include "actors/training_round.hpp"
#include "actors/weights_bundle.hpp"
#include "runtime/input_error.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/telemetry/storage.hpp"
#include "runtime/train/trainable.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <fstream>
#include <future>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>

namespace millrace::actors {
namespace {

using flips = std::vector<train::version_run>;

/// The figures of the parts of the step under way, as the coordinator keeps them.
std::filesystem::path step_file(const std::filesystem::path& checkpoint) { return checkpoint / "step.json"; }

std::string in_words(std::uint64_t group) { return "group " + std::to_string(group); }

/// @throws input_error where the record does not say
train::column_origin recorded_origin(const train::lineage& recorded, const std::string& column) {
  const auto found = recorded.origins.find(column);
  if (found == recorded.origins.end())
    throw input_error(in_words(recorded.group) + ": the record does not say with which weights `" + column
                      + "` was computed; it is of a run of an earlier build, want one of this build");
  return found->second;
}

/// LibTorch's for this thread and MKL's for all of them: a stage's own thread has set the one and needs the other.
void use_threads(int threads) {
  if (threads > 0)
    at::set_num_threads(threads);
}

stage_result result_of(stage_work& work, const process_group& group, const column_set& columns) {
  std::promise<stage_result> promised;
  work.process(group, columns, [&](stage_result result) { promised.set_value(std::move(result)); });
  return promised.get_future().get();
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

replay::replay(const pipeline::pipeline& p, std::vector<train::step_lineage> record, const std::filesystem::path& checkpoint)
    : pipeline_(p), record_(std::move(record)), learning_(p, checkpoint, record_.at(0).threads), version_(record_.at(0).version),
      source_(p, *p.of<pipeline::source_table>().at(0), std::nullopt) {
  for (const auto& role : p.roles)
    if (const auto* rollout = std::get_if<pipeline::rollout_table>(&role.options)) {
      auto words = load_model(p, rollout->model, false);
      sampled_ = words.config;
      answering_.push_back({&role, words, rollout_requests(p, *rollout, words)});
    } else if (const auto* rows = std::get_if<pipeline::demonstrations_table>(&role.options)) {
      answering_.push_back({&role, load_model(p, rows->model, false), std::nullopt});
    }
  if (!checkpoint.empty() && record_.at(0).part > 0)
    figures_ = step_figures(telemetry::read_file(step_file(checkpoint)));
  look_ahead();
  for (const auto& role : p.roles)
    if (auto make = maker_of(role, checkpoint))
      stages_.push_back({&role, std::move(make)});
}

void replay::look_ahead() {
  constexpr auto none = std::numeric_limits<std::uint32_t>::max();
  oldest_weights least{none, none, none};
  oldest_.resize(record_.size());
  for (std::size_t i = record_.size(); i-- > 0;) {
    least.policy = std::min(least.policy, record_[i].version);
    for (const auto& group : record_[i].groups) {
      wanted_rows_.insert(group.group);
      for (const auto& runs : group.answers)
        for (const auto& run : runs)
          least.policy = std::min(least.policy, run.version);
      for (const auto& [column, origin] : group.origins)
        if (column == "value")
          least.critic = std::min(least.critic, origin.version);
        else if (column == "ref_logprob")
          least.reference = std::min(least.reference, origin.version);
    }
    oldest_[i] = least;
  }
}

/// @returns nothing for roles that add no column between the answers and the policy
replay::maker replay::maker_of(const pipeline::role& role, const std::filesystem::path& checkpoint) {
  if (const auto* table = std::get_if<pipeline::rule_verifier_table>(&role.options))
    return [work = std::make_shared<rule_verifier>(*table)](const auto& group, const auto& columns, const auto&) { return result_of(*work, group, columns); };
  if (const auto* table = std::get_if<pipeline::reward_model_table>(&role.options))
    return reward_maker(*table);
  if (const auto* table = std::get_if<pipeline::critic_table>(&role.options))
    return critic_maker(*table, checkpoint);
  if (const auto* table = std::get_if<pipeline::reference_table>(&role.options))
    return reference_maker(role, *table, checkpoint);
  return {};
}

replay::maker replay::reward_maker(const pipeline::reward_model_table& table) {
  return [this, &table, loaded = std::map<std::uint32_t, std::shared_ptr<reward_model>>()](const auto& group, const auto& columns,
                                                                                           const auto& recorded) mutable {
    const auto threads = recorded_origin(recorded, "reward." + table.name).threads; // of the process that scored this group
    auto& work = loaded[threads];
    if (!work)
      work = reward_model::load(pipeline_, table, static_cast<int>(threads));
    use_threads(static_cast<int>(threads));
    return result_of(*work, group, columns);
  };
}

replay::maker replay::critic_maker(const pipeline::critic_table& table, const std::filesystem::path& checkpoint) {
  critic_name_ = pipeline_.of<pipeline::critic_table>().at(0)->name;
  critic_threads_ = recorded_threads("value");
  critic_ = std::make_unique<critic_learning>(pipeline_, table, checkpoint, critic_threads_);
  return [this](const auto&, const auto& columns, const auto& recorded) {
    const auto& critic = critic_of(recorded_origin(recorded, "value").version);
    use_threads(critic_threads_);
    stage_result result;
    result.added = critic_->value_columns(columns, critic);
    return result;
  };
}

replay::maker replay::reference_maker(const pipeline::role& role, const pipeline::reference_table& table, const std::filesystem::path& checkpoint) {
  // Log-probabilities of a reference are the same on any number of threads.
  auto first = std::make_shared<reference_weights>(table, load_model(pipeline_, table.model, true), pipeline::sampling_temperature(pipeline_), 1,
                                                   train::device_named(pipeline_.run.device));
  const auto thread = std::make_shared<job_thread>();
  if (!table.follows())
    return [work = std::make_shared<reference>(reference_core{first, thread})](const auto& group, const auto& columns, const auto&) {
      return result_of(*work, group, columns);
    };
  if (!checkpoint.empty())
    first->read_checkpoint(checkpoint, role.name);
  reference_name_ = role.name;
  references_[first->version()] = std::move(first);
  return [this, thread](const auto& group, const auto& columns, const auto& recorded) {
    const auto version = recorded_origin(recorded, "ref_logprob").version;
    const auto known = references_.find(version);
    if (known == references_.end())
      throw input_error(in_words(recorded.group) + ": the reference of version " + std::to_string(version) + " is wanted and it is at version "
                        + std::to_string(references_.rbegin()->first));
    reference work(reference_core{known->second, thread});
    return result_of(work, group, columns);
  };
}

/// Of the process that computed a column; it is the same one all session. @throws input_error where the record does not say
int replay::recorded_threads(const std::string& column) const {
  const auto step = std::find_if(record_.begin(), record_.end(), [](const auto& part) { return !part.groups.empty(); });
  return step == record_.end() ? 0 : static_cast<int>(recorded_origin(step->groups.front(), column).threads);
}

void replay::follow(std::uint32_t version) {
  auto next = std::make_shared<reference_weights>(*references_.rbegin()->second);
  if (!next->wants(version))
    return;
  next->follow(version, weights_of(learning_.snapshot(version)));
  references_[version] = std::move(next);
}

const critic_snapshot& replay::critic_of(std::uint32_t version) {
  if (const auto known = critics_.find(version); known != critics_.end())
    return known->second;
  if (const auto now = critic_->origin().version; version != now)
    throw input_error("the critic after " + std::to_string(version) + " updates is wanted and it has had " + std::to_string(now));
  return critics_[version] = critic_->snapshot();
}

replay::shared_policy replay::policy_of(std::uint32_t version) {
  if (const auto known = policies_.find(version); known != policies_.end())
    return known->second;
  if (version != version_)
    throw input_error("version " + std::to_string(version) + " is wanted and the learner is at version " + std::to_string(version_));
  return policies_[version] = model::inference_decoder(sampled_.value(), weights_of(learning_.snapshot(version)),
                                                       train::device_named(pipeline_.run.device));
}

prompt_row replay::row_of(std::uint64_t group) {
  for (; next_row_ <= group; ++next_row_)
    if (auto row = source_.take(next_row_); wanted_rows_.contains(next_row_))
      rows_[next_row_] = std::move(row);
  const auto found = rows_.find(group);
  if (found == rows_.end() || found->second.exhausted)
    throw input_error(in_words(group) + ": there is no such prompt (any more)");
  return found->second;
}

const replay::answering_role& replay::answered(const train::lineage& recorded) const {
  const auto found = std::find_if(answering_.begin(), answering_.end(), [&](const auto& role) {
    return role.role->name == recorded.by || (recorded.by.empty() && answering_.size() == 1);
  });
  if (found == answering_.end())
    throw input_error(in_words(recorded.group) + ": the record does not say which role answered it; it is of a run of an earlier build, want one of this build");
  return *found;
}

rollout::finished_group replay::generate(const answering_role& sampler, rollout::group_request request, const train::lineage& recorded) {
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
    auto options = sampler.requests->engine_options(1);
    options.slots = std::max(options.slots, request.answers); // all at once: none waits while weights change
    options.prefill_rows = options.max_context * request.answers; // and none is computed anew sooner than another
    auto answers = made_with(rollout::engine(policy_of(first), sampler.words.tok, first, options), request, others, runs,
                             [this](std::uint32_t version) { return policy_of(version); });
    for (std::size_t i = 0; i < out.answers.size(); ++i)
      if (const std::size_t index = recorded.kept.empty() ? i : recorded.kept[i]; recorded.answers[i] == runs && index < answers.size())
        out.answers[i] = std::move(answers[index]);
  }
  out.kept.assign(recorded.kept.begin(), recorded.kept.end());
  return out;
}

transport::bundle replay::answers_of(const prompt_row& row, const train::lineage& recorded) {
  generate_group ask;
  ask.group = recorded.group;
  ask.prompt = row.prompt;
  ask.demonstrations = row.demonstrations;
  ask.margin = row.margin;
  ask.seed = group_seed(static_cast<std::uint64_t>(pipeline_.run.seed), recorded.group);
  const auto& by = answered(recorded);
  if (const auto* table = std::get_if<pipeline::demonstrations_table>(&by.role->options)) {
    const auto stamped = std::find_if(recorded.answers.begin(), recorded.answers.end(), [](const auto& runs) { return !runs.empty(); });
    return columns_of(write_demonstrations(by.words, *table, longest_prompt(pipeline_), ask),
                      stamped == recorded.answers.end() ? version_ : stamped->front().version);
  }
  ask.answers = static_cast<std::int32_t>(std::get<pipeline::rollout_table>(by.role->options).answers_per_prompt);
  const auto request = by.requests->make(ask);
  return columns_of(request.prompt, generate(by, request, recorded), static_cast<std::size_t>(by.requests->greedy()));
}

train::training_group replay::make(const train::lineage& recorded) {
  const prompt_row row = row_of(recorded.group);
  std::vector<transport::bundle> columns{answers_of(row, recorded)};
  process_group group;
  group.group = recorded.group;
  group.answer = row.answer;
  group.prompt = row.prompt;
  auto& summary = summaries_[recorded.group];
  for (const auto& [role, make_columns] : stages_) {
    auto result = make_columns(group, column_set(columns), recorded);
    if (const auto& why = result.error.empty() ? result.complaint : result.error; !why.empty())
      throw input_error("roles." + role->name + ": " + in_words(recorded.group) + ": " + why);
    columns.push_back(std::move(result.added));
    summary.insert(result.summary.begin(), result.summary.end());
  }
  const auto& policy = std::get<pipeline::policy_table>(pipeline_.policy().options);
  auto made = training_group_of(recorded.group, column_set(std::move(columns)), policy.mask_truncated, policy.rewards);
  made.domain = row.data_source;
  return made;
}

batch_report replay::train(const train_batch& batch) {
  const bool beside = critic_ && !batch.groups.empty();
  training_round round(batch.step, batch.part, pipeline_.policy().name, beside ? critic_name_ : "");
  use_threads(record_.at(0).threads);
  auto end = round.policy_answered(learning_.train(batch, {}));
  if (beside) {
    use_threads(critic_threads_);
    end = round.critic_answered(critic_->train(batch, {}, learning_.take_returns()));
    critic_->end_step({batch.step, end->critic_applies, batch.part});
  }
  auto report = std::move(end->report);
  for (const auto group : batch.groups)
    figures_.add_group(summaries_.extract(group).mapped());
  figures_.add_masked(report.masked_tokens);
  if (batch.ends_step)
    for (const auto& [name, value] : std::exchange(figures_, {}).figures())
      report.metrics[name] = value;
  return report;
}

replayed_step replay::step(std::size_t index) {
  replayed_step out;
  const auto& recorded = record_.at(index);
  if (recorded.version != version_)
    throw input_error("step " + std::to_string(recorded.step) + " was trained from version " + std::to_string(recorded.version)
                      + " and the steps before it make version " + std::to_string(version_));
  const auto forget = [](auto& weights, std::uint32_t oldest) {
    while (weights.size() > 1 && weights.begin()->first < oldest) // the newest goes on
      weights.erase(weights.begin());
  };
  forget(policies_, oldest_[index].policy);
  forget(critics_, oldest_[index].critic);
  forget(references_, oldest_[index].reference);
  // Before training changes the parameters: later groups may have been made with them.
  if (sampled_)
    policy_of(version_);
  if (critic_)
    critic_of(critic_->origin().version);
  if (recorded.followed && !references_.empty())
    follow(recorded.version);
  train_batch batch{recorded.step, recorded.version, {}, recorded.part, recorded.ends_step, recorded.mask, recorded.train_from, {}};
  for (const auto& lineage : recorded.groups) {
    auto group = make(lineage);
    auto again = train::lineage_of(group);
    again.by = lineage.by;
    if (again != lineage) {
      out.group = lineage.group;
      out.difference = again.answers == lineage.answers
                           ? "the same versions sampled as many tokens, but tokens, log-probabilities, rewards or values differ"
                           : "answers of other lengths";
      return out;
    }
    if (critic_)
      critic_->keep(group);
    learning_.keep(std::move(group));
    batch.groups.push_back(lineage.group);
    rows_.erase(lineage.group);
  }
  out.report = train(batch);
  if (recorded.ends_step)
    version_ = recorded.version + 1;
  return out;
}

void replay::write_checkpoint(const std::filesystem::path& folder) const {
  learning_.write_checkpoint(folder);
  if (critic_)
    critic_->write_checkpoint(folder);
  if (!references_.empty())
    references_.rbegin()->second->write_checkpoint(folder, reference_name_);
  std::ofstream(step_file(folder)) << figures_.saved();
}

} // namespace millrace::actors
