#include "runtime/replay/replay.hpp"

#include "runtime/columns/answer_columns.hpp"
#include "runtime/columns/training_columns.hpp"
#include "runtime/columns/weights_bundle.hpp"
#include "runtime/formats/durable_write.hpp"
#include "runtime/model/computing_threads.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/replay/made_answers.hpp"
#include "runtime/roles/demonstrations_role.hpp"
#include "runtime/roles/group_seed.hpp"
#include "runtime/roles/reward_model_role.hpp"
#include "runtime/roles/role_kinds.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/run_files/storage.hpp"
#include "runtime/supervision/training_round.hpp"
#include "runtime/train/trainable.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <future>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>

namespace millrace::replay {
namespace {

/// The figures of the parts of the step under way, as the coordinator keeps them.
std::filesystem::path step_file(const std::filesystem::path& checkpoint) {
  return checkpoint / "step.json";
}

std::string in_words(std::uint64_t group) {
  return "group " + std::to_string(group);
}

/// @throws input_error where the record does not say
train::column_origin recorded_origin(const train::lineage& recorded, const std::string& column) {
  const auto found = recorded.origins.find(column);
  if (found == recorded.origins.end())
    throw input_error(in_words(recorded.group) + ": the record does not say with which weights `" + column
                      + "` was computed; it is of a run of an earlier build, want one of this build");
  return found->second;
}

/// What a role adds; an error is a complaint here: nothing would come of another attempt.
roles::added_columns added_by(roles::column_adder& role, std::uint64_t group, const columns::column_set& columns) {
  std::promise<roles::added_columns> promised;
  role.add({.group = group, .attempt = 0, .columns = {}}, columns, [&](roles::added_columns added, std::string error) {
    if (!error.empty())
      added.complaint = std::move(error);
    promised.set_value(std::move(added));
  });
  return promised.get_future().get();
}

/// The same of a reference.
roles::added_columns added_by(const roles::reference_core& reference, const columns::column_set& columns) {
  try {
    return {.columns = reference.logprob_columns(columns)};
  } catch (const std::exception& error) {
    return {.columns = {}, .complaint = error.what()};
  }
}

} // namespace

replayer::replayer(const pipeline::pipeline& p, std::vector<train::step_record> record,
                   const std::filesystem::path& checkpoint)
    : pipeline_(p), checkpoint_(checkpoint), record_(std::move(record)), policy_(p, checkpoint, record_.at(0).threads),
      version_(record_.at(0).version), source_(p, *p.of<pipeline::source_table>().at(0), std::nullopt),
      training_rules_(columns::training_rules_of(p)) {
  if (!checkpoint.empty() && record_.at(0).part > 0)
    figures_ = supervision::step_figures(run_files::read_file(step_file(checkpoint)));
  look_ahead();
  for (const auto& role : p.roles)
    std::visit([&](const auto& table) { join(role, table); }, role.options);
}

void replayer::look_ahead() {
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
        if (column == column::value.name)
          least.critic = std::min(least.critic, origin.version);
        else if (column == column::ref_logprob.name)
          least.reference = std::min(least.reference, origin.version);
    }
    oldest_[i] = least;
  }
}

// -- what each kind of role is to a replay ----------------------------------------------------------------------------
//
// A kind that only adds columns is made as in a run. Any other kind has an overload here, or it does not compile.

void replayer::join(const pipeline::role&, const pipeline::source_table&) {
  // `source_`
}

void replayer::join(const pipeline::role& role, const pipeline::rollout_table& table) {
  auto words = roles::load_text_model(pipeline_, table.model);
  sampled_ = words.config;
  sampled_as_ = pipeline_.models.at(table.model).sampled_as();
  roles::rollout_requests requests(pipeline_, table, words);
  answering_.push_back({.role = &role, .words = std::move(words), .requests = std::move(requests)});
}

void replayer::join(const pipeline::role& role, const pipeline::demonstrations_table& table) {
  answering_.push_back(
      {.role = &role, .words = roles::load_text_model(pipeline_, table.model), .requests = std::nullopt});
}

void replayer::join(const pipeline::role&, const pipeline::environment_table&) {
  // What it said stands in the record.
}

template <pipeline::only_adds_columns Table>
void replayer::join(const pipeline::role& role, const Table&) {
  const auto can = roles::make_role({.pipeline = {std::shared_ptr<const void>(), &pipeline_},
                                     .who = {.role = role.name, .index = 0, .incarnation = 1},
                                     .data = nullptr});
  adders_.push_back({.role = &role, .add = [adder = can.adds_columns](const auto& columns, const auto& recorded) {
                       return added_by(*adder, recorded.group, columns);
                     }});
}

void replayer::join(const pipeline::role& role, const pipeline::reward_model_table& table) {
  using by_threads = std::map<std::uint32_t, std::shared_ptr<roles::reward_model_role>>;
  adders_.push_back(
      {.role = &role,
       .add = [this, &role, &table, loaded = by_threads()](const auto& columns, const auto& recorded) mutable {
         // Of the process that scored this group.
         const auto threads = recorded_origin(recorded, column::reward_of(table.name).name).threads;
         auto& scorer = loaded[threads];
         if (!scorer)
           scorer = roles::reward_model_role::load(pipeline_, role, static_cast<int>(threads));
         model::use_computing_threads(static_cast<int>(threads));
         return added_by(*scorer, recorded.group, columns);
       }});
}

void replayer::join(const pipeline::role& role, const pipeline::critic_table& table) {
  critic_name_ = role.name;
  critic_threads_ = recorded_threads(std::string(column::value.name));
  critic_ = std::make_unique<roles::critic_core>(pipeline_, table, checkpoint_, critic_threads_);
  adders_.push_back({.role = &role, .add = [this](const auto& columns, const auto& recorded) {
                       const auto& then = critic_of(recorded_origin(recorded, std::string(column::value.name)).version);
                       model::use_computing_threads(critic_threads_);
                       return roles::added_columns{.columns = critic_->value_columns(columns, then)};
                     }});
}

void replayer::join(const pipeline::role& role, const pipeline::reference_table& table) {
  // Log-probabilities of a reference are the same on any number of threads.
  auto first = std::make_shared<roles::reference_core>(roles::reference_core::load(pipeline_, role, 1));
  if (!table.follows()) {
    adders_.push_back(
        {.role = &role, .add = [first](const auto& columns, const auto&) { return added_by(*first, columns); }});
    return;
  }
  if (!checkpoint_.empty())
    first->read_checkpoint(checkpoint_, role.name);
  reference_name_ = role.name;
  references_[first->version()] = std::move(first);
  adders_.push_back({.role = &role, .add = [this](const auto& columns, const auto& recorded) {
                       const auto version = recorded_origin(recorded, std::string(column::ref_logprob.name)).version;
                       const auto known = references_.find(version);
                       if (known == references_.end())
                         throw input_error(in_words(recorded.group) + ": the reference of version "
                                           + std::to_string(version) + " is wanted and it is at version "
                                           + std::to_string(references_.rbegin()->first));
                       return added_by(*known->second, columns);
                     }});
}

void replayer::join(const pipeline::role&, const pipeline::policy_table&) {
  // `policy_`
}

void replayer::join(const pipeline::role&, const pipeline::evaluation_table&) {
  // Beside the graph: it changes nothing that is trained.
}

/// Of the process that computed a column; it is the same one all session. @throws input_error where the record does not
/// say
int replayer::recorded_threads(const std::string& column) const {
  const auto step = std::find_if(record_.begin(), record_.end(), [](const auto& part) { return !part.groups.empty(); });
  return step == record_.end() ? 0 : static_cast<int>(recorded_origin(step->groups.front(), column).threads);
}

void replayer::follow(std::uint32_t version) {
  auto next = std::make_shared<roles::reference_core>(*references_.rbegin()->second);
  if (!next->wants(version))
    return;
  next->follow(version, columns::weights_of(policy_.snapshot(version)));
  references_[version] = std::move(next);
}

const roles::critic_snapshot& replayer::critic_of(std::uint32_t version) {
  if (const auto known = critics_.find(version); known != critics_.end())
    return known->second;
  if (const auto now = critic_->origin().version; version != now)
    throw input_error("the critic after " + std::to_string(version) + " updates is wanted and it has had "
                      + std::to_string(now));
  return critics_[version] = critic_->snapshot();
}

replayer::shared_policy replayer::policy_of(std::uint32_t version) {
  if (const auto known = policies_.find(version); known != policies_.end())
    return known->second;
  if (version != version_)
    throw input_error("version " + std::to_string(version) + " is wanted and the learner is at version "
                      + std::to_string(version_));
  return policies_[version] = model::inference_decoder(
             sampled_.value(), columns::weights_of(policy_.snapshot(version)),
             roles::device_for(pipeline_, *pipeline_.of<pipeline::rollout_table>().at(0)), sampled_as_);
}

const roles::source_prompt& replayer::row_of(const train::lineage& recorded) {
  const auto group = recorded.group;
  if (!recorded.drawn.empty())
    return rows_[group] =
               source_.take_drawn(group, {static_cast<std::uint32_t>(recorded.drawn.at(0)), recorded.drawn.at(1)});
  for (; next_row_ <= group; ++next_row_)
    if (auto row = source_.take(next_row_); wanted_rows_.contains(next_row_))
      rows_[next_row_] = std::move(row);
  const auto found = rows_.find(group);
  if (found == rows_.end() || found->second.row.exhausted)
    throw input_error(in_words(group) + ": there is no such prompt (any more)");
  return found->second;
}

const replayer::answering_role& replayer::answered(const train::lineage& recorded) const {
  const auto found = std::find_if(answering_.begin(), answering_.end(), [&](const auto& role) {
    return role.role->name == recorded.by || (recorded.by.empty() && answering_.size() == 1);
  });
  if (found == answering_.end())
    throw input_error(in_words(recorded.group)
                      + ": the record does not say which role answered it; it is of a run of an earlier build, want "
                        "one of this build");
  return *found;
}

rollout::finished_group replayer::generate(const answering_role& sampler, rollout::group_request request,
                                           const train::lineage& recorded) {
  std::optional<rollout::partial_group> others;
  if (!recorded.kept.empty()) { // of what was begun only what was kept is made
    if (recorded.kept.size() != recorded.answers.size())
      throw input_error(in_words(recorded.group)
                        + ": the record has another number of answers than of those that were kept");
    request.answers = static_cast<std::int32_t>(recorded.kept.back() + 1);
    others = all_but(request, recorded.kept);
  }
  std::vector<flips> kinds; // answers under way when weights changed may have been at different tokens
  for (const auto& runs : recorded.answers)
    if (std::find(kinds.begin(), kinds.end(), runs) == kinds.end())
      kinds.push_back(runs);
  rollout::finished_group out;
  out.group = request.group;
  out.prompt_tokens = static_cast<std::int64_t>(request.prompt.size());
  out.answers.resize(recorded.answers.size());
  auto options = sampler.requests->engine_options(1);
  options.slots = std::max(options.slots, request.answers);     // all at once: none waits while weights change
  options.prefill_rows = options.max_context * request.answers; // and none is computed anew sooner than another
  const auto engine_of = [&](const flips& runs) {
    const std::uint32_t first = runs.empty() ? version_ : runs.front().version;
    return rollout::engine(policy_of(first), sampler.words.tok, first, options);
  };
  const auto policy = [this](std::uint32_t version) { return policy_of(version); };
  for (std::size_t i = 0; i < recorded.played.size(); ++i) {
    const auto& runs = recorded.answers.at(i);
    const auto index = recorded.kept.empty() ? static_cast<std::uint32_t>(i) : recorded.kept[i];
    out.answers[i] = played_with(engine_of(runs), request, index, runs, recorded.played[i], policy);
  }
  if (!recorded.played.empty())
    kinds.clear();
  for (const flips& runs : kinds) {
    auto answers = made_with(engine_of(runs), request, others, runs, policy);
    for (std::size_t i = 0; i < out.answers.size(); ++i)
      if (const std::size_t index = recorded.kept.empty() ? i : recorded.kept[i];
          recorded.answers[i] == runs && index < answers.size())
        out.answers[i] = std::move(answers[index]);
  }
  out.kept.assign(recorded.kept.begin(), recorded.kept.end());
  return out;
}

transport::bundle replayer::answers_of(const columns::column_set& row, const train::lineage& recorded) {
  const auto& by = answered(recorded);
  const auto content = columns::content_of(row);
  if (const auto* table = std::get_if<pipeline::demonstrations_table>(&by.role->options)) {
    const auto stamped =
        std::find_if(recorded.answers.begin(), recorded.answers.end(), [](const auto& runs) { return !runs.empty(); });
    return roles::columns_of(roles::write_demonstrations(by.words, *table, roles::longest_prompt(pipeline_), content),
                             stamped == recorded.answers.end() ? version_ : stamped->front().version);
  }
  const auto& table = std::get<pipeline::rollout_table>(by.role->options);
  const generate_group ask{
      .group = recorded.group,
      .answers = static_cast<std::int32_t>(table.answers_per_prompt),
      .seed = roles::group_seed(static_cast<std::uint64_t>(pipeline_.run.seed), recorded.group),
  };
  auto request = by.requests->make(ask, content.prompt);
  if (!recorded.played.empty())
    request.prompt = recorded.prompt;
  return columns::columns_of(request.prompt, generate(by, request, recorded),
                             static_cast<std::size_t>(by.requests->greedy()));
}

train::training_group replayer::make(const train::lineage& recorded) {
  const auto& row = row_of(recorded);
  std::vector<transport::bundle> columns{row.columns};
  columns.push_back(answers_of(columns::column_set(row.columns), recorded));
  auto& [summary, source] = summaries_[recorded.group];
  source = row.row.source;
  for (const auto& [role, add] : adders_) {
    auto result = add(columns::column_set(columns), recorded);
    if (!result.complaint.empty())
      throw input_error("roles." + role->name + ": " + in_words(recorded.group) + ": " + result.complaint);
    columns.push_back(std::move(result.columns));
    summary.insert(result.summary.begin(), result.summary.end());
  }
  return columns::training_group_of(recorded.group, columns::column_set(std::move(columns)), training_rules_,
                                    row.row.data_source);
}

batch_report replayer::train(const train_batch& batch, const train::step_record& recorded) {
  const bool beside = critic_ && !batch.groups.empty();
  supervision::training_round round(batch.step, batch.part, pipeline_.policy().name,
                                    beside ? std::vector<std::string>{critic_name_} : std::vector<std::string>{});
  model::use_computing_threads(record_.at(0).threads);
  auto end = round.leader_answered(policy_.train(batch, {}, recorded.cuts));
  if (beside) {
    model::use_computing_threads(critic_threads_);
    end = round.other_answered(critic_name_, critic_->train(batch, {}, policy_.take_returns(), recorded.critic_cut));
    critic_->end_step({.step = batch.step, .apply = end->apply, .part = batch.part});
  }
  auto report = std::move(end->report);
  for (const auto group : batch.groups) {
    const auto made = summaries_.extract(group);
    figures_.add_group(made.mapped().figures, made.mapped().source);
  }
  figures_.add_masked(report.masked_tokens);
  if (batch.ends_step)
    for (const auto& [name, value] : std::exchange(figures_, {}).figures())
      report.metrics[name] = value;
  return report;
}

replayed_step replayer::step(std::size_t index) {
  replayed_step out;
  const auto& recorded = record_.at(index);
  if (recorded.version != version_)
    throw input_error("step " + std::to_string(recorded.step) + " was trained from version "
                      + std::to_string(recorded.version) + " and the steps before it make version "
                      + std::to_string(version_));
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
  train_batch batch{.step = recorded.step,
                    .version = recorded.version,
                    .groups = {},
                    .part = recorded.part,
                    .ends_step = recorded.ends_step,
                    .mask = recorded.mask,
                    .train_from = recorded.train_from,
                    .returns = {}};
  for (const auto& lineage : recorded.groups) {
    auto group = make(lineage);
    auto again = train::lineage_of(group);
    again.by = lineage.by;
    again.drawn = lineage.drawn;
    if (again != lineage) {
      out.group = lineage.group;
      out.difference =
          again.answers == lineage.answers
              ? "the same versions sampled as many tokens, but tokens, log-probabilities, rewards or values differ"
              : "answers of other lengths";
      return out;
    }
    if (critic_)
      critic_->keep(group);
    policy_.keep(std::move(group));
    batch.groups.push_back(lineage.group);
    rows_.erase(lineage.group);
  }
  out.report = train(batch, recorded);
  if (recorded.ends_step)
    version_ = recorded.version + 1;
  return out;
}

void replayer::write_checkpoint(const std::filesystem::path& folder) const {
  policy_.write_checkpoint(folder);
  if (critic_)
    critic_->write_checkpoint(folder);
  if (!references_.empty())
    references_.rbegin()->second->write_checkpoint(folder, reference_name_);
  formats::write_new_file(step_file(folder), figures_.saved());
}

} // namespace millrace::replay
