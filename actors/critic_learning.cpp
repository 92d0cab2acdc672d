#include "actors/critic_learning.hpp"

#include "actors/column_origin.hpp"
#include "actors/learning.hpp"
#include "actors/optimizer_options.hpp"
#include "actors/tokenizer_match.hpp"
#include "runtime/input_error.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/telemetry/metrics.hpp"

#include <ATen/core/Tensor.h>

#include <stdexcept>

namespace millrace::actors {
namespace {

/// Where a checkpoint of the run keeps the critic.
std::filesystem::path model_folder(const std::filesystem::path& checkpoint) { return checkpoint / "critic" / "model"; }
std::filesystem::path optimizer_folder(const std::filesystem::path& checkpoint) { return checkpoint / "critic" / "optimizer"; }

model::checkpoint load(const pipeline::pipeline& p, const pipeline::critic_table& table, const std::filesystem::path& checkpoint) {
  auto loaded = model::with_score_head(model::load_checkpoint(
      checkpoint.empty() ? p.models.at(table.model).path : model_folder(checkpoint), {.weights = true, .score_head = true}));
  check_same_tokens(p, loaded);
  return loaded;
}

std::vector<std::vector<std::int32_t>> answers_in(const column_set& columns) {
  std::vector<std::vector<std::int32_t>> answers;
  for (const auto answer : by_answer(columns.view<std::int32_t>("tokens"), columns.view<std::int32_t>("lengths")))
    answers.emplace_back(answer.begin(), answer.end());
  return answers;
}

transport::bundle to_columns(const std::vector<float>& values, train::column_origin origin) {
  return transport::bundle_builder().add("value", std::span<const float>(values)).add_all(origin_of("value", origin)).finish();
}

/// Names as verl has them, where it has one.
std::map<std::string, double> metrics_of(const train::value_report& r) {
  const double tokens = r.seen.tokens ? static_cast<double>(r.seen.tokens) : 1;
  return {{"critic/vf_loss", r.loss},
          {"critic/vf_clipfrac", static_cast<double>(r.seen.clipped) / tokens},
          {"critic/vf_explained_var", r.seen.explained_variance()},
          {"critic/values/mean", r.value_mean},
          {"critic/returns/mean", r.return_mean},
          {"critic/grad_norm", r.gradient_norm},
          {"critic/lr", r.learning_rate},
          {"critic/groups/unusable", static_cast<double>(r.unusable.size())},
          {telemetry::metric::timing("critic"), r.total_s}};
}

} // namespace

train::value_learner_options value_learner_options_of(const pipeline::pipeline& p, const pipeline::critic_table& table, int threads) {
  const auto of_policy = learner_options_of(p, threads);
  train::value_learner_options options;
  options.algorithm = of_policy.algorithm;
  options.algorithm_options = of_policy.algorithm_options;
  options.value_clip = table.value_clip;
  options.optimizer = optimizer_options_of(table.optimizer, p.run.steps);
  options.micro_batch_tokens = table.micro_batch_tokens;
  options.threads = threads;
  options.device = p.run.device;
  return options;
}

critic_learning::critic_learning(const pipeline::pipeline& p, const pipeline::critic_table& table,
                                 const std::filesystem::path& checkpoint, int threads)
    : model_(load(p, table, checkpoint)),
      learner_(model_.config, model_.parameters, value_learner_options_of(p, table, threads)), rewards_(reward_parts_of(p)), threads_(threads) {
  model_.parameters.clear();
  if (!checkpoint.empty())
    learner_.load_state(optimizer_folder(checkpoint));
}

void critic_learning::keep(train::training_group group) { groups_.keep(std::move(group)); }

void critic_learning::forget(std::uint64_t group) { groups_.forget(group); }

std::vector<float> critic_learning::values(std::span<const std::int32_t> prompt,
                                           std::span<const std::vector<std::int32_t>> answers) const {
  return learner_.values(prompt, answers);
}

train::column_origin critic_learning::origin() const {
  return {static_cast<std::uint32_t>(learner_.steps()), static_cast<std::uint32_t>(threads_)};
}

transport::bundle critic_learning::value_columns(const column_set& columns) const {
  return to_columns(values(columns.view<std::int32_t>("prompt_tokens"), answers_in(columns)), origin());
}

transport::bundle critic_learning::value_columns(const column_set& columns, const critic_snapshot& then) const {
  return to_columns(learner_.values(*then.decoder, columns.view<std::int32_t>("prompt_tokens"), answers_in(columns)), then.origin);
}

batch_report critic_learning::train(const train_batch& batch, std::stop_token stop, std::span<const float> returns) {
  auto groups = groups_.of(batch.groups);
  if (!rewards_.empty())
    train::mix_rewards(groups, rewards_);
  batch_ = {};
  train::mask_old(groups, batch.mask, batch.train_from);
  auto result = learner_.gradient(groups, batch.version, std::move(stop), returns);
  batch_ = batch;
  batch_report report;
  report.step = batch.step;
  report.part = batch.part;
  report.ends_step = batch.ends_step;
  report.interrupted = result.result == train::step_report::outcome::stopped;
  report.skipped = result.result == train::step_report::outcome::not_finite;
  report.complaint = result.reason;
  auto whole = batch.part > 0 ? so_far_ : std::nullopt;
  if (whole)
    *whole += result;
  report.metrics = metrics_of(whole.value_or(result));
  report_ = std::move(whole).value_or(result);
  return report;
}

void critic_learning::end_step(const end_critic_step& how) {
  const auto batch = std::exchange(batch_, {});
  if (!how.apply || batch.step != how.step || batch.part != how.part)
    return;
  learner_.apply();
  so_far_ = batch.ends_step ? std::nullopt : std::optional(std::move(report_));
  groups_.forget(batch.groups);
}

void critic_learning::write_checkpoint(const std::filesystem::path& folder) const {
  if (!std::filesystem::is_directory(folder))
    throw input_error(folder.string() + ": no such folder, want one to write the checkpoint into");
  std::filesystem::create_directories(model_folder(folder));
  std::filesystem::create_directories(optimizer_folder(folder));
  auto whole = model_;
  for (const auto& parameter : learner_.parameters())
    whole.parameters.push_back({parameter.name, parameter.tensor.detach().cpu()});
  model::write_checkpoint_files(model_folder(folder), whole);
  learner_.save_state(optimizer_folder(folder));
}

std::uint64_t critic_learning::parameter_count() const {
  std::uint64_t count = 0;
  for (const auto& parameter : learner_.parameters())
    count += static_cast<std::uint64_t>(parameter.tensor.numel());
  return count;
}

} // namespace millrace::actors
