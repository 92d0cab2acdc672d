#include "runtime/roles/critic_core.hpp"

#include "runtime/columns/answer_columns.hpp"
#include "runtime/columns/column_builder.hpp"
#include "runtime/columns/column_origin.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/roles/learner_options.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/telemetry/metrics.hpp"
#include "runtime/train/mask_old.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/core/Tensor.h>

#include <stdexcept>

namespace millrace::roles {
namespace {

/// Where a checkpoint of the run keeps the critic.
std::filesystem::path critic_model_folder(const std::filesystem::path& checkpoint) {
  return checkpoint / "critic" / "model";
}

std::filesystem::path critic_optimizer_folder(const std::filesystem::path& checkpoint) {
  return checkpoint / "critic" / "optimizer";
}

model::checkpoint load_critic(const pipeline::pipeline& p, const pipeline::critic_table& table,
                              const std::filesystem::path& checkpoint) {
  auto loaded = model::with_score_head(
      model::load_checkpoint(checkpoint.empty() ? p.models.at(table.model).path : critic_model_folder(checkpoint),
                             {.weights = true, .score_head = true}));
  check_same_tokens(p, loaded);
  return loaded;
}

transport::bundle value_columns_of(const std::vector<float>& values, train::column_origin origin) {
  return columns::column_builder()
      .add(column::value, values)
      .add_all(columns::origin_of(column::value.name, origin))
      .finish();
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
          {"critic/memory_ran_out", static_cast<double>(r.memory_ran_out)},
          {"critic/groups/unusable", static_cast<double>(r.unusable.size())},
          {telemetry::metric::timing("critic"), r.total_s}};
}

} // namespace

train::value_learner_options value_learner_options_of(const pipeline::pipeline& p, const pipeline::critic_table& table,
                                                      int threads) {
  const auto of_policy = learner_options_of(p, threads);
  train::value_learner_options options;
  options.algorithm = of_policy.algorithm;
  options.algorithm_options = of_policy.algorithm_options;
  options.clamps = of_policy.loss.clamps;
  options.value_clip = table.value_clip;
  options.optimizer = optimizer_options_of(table.optimizer, p.run.steps);
  options.micro_batch_tokens = table.micro_batch_tokens;
  if (table.activation_checkpointing)
    options.activations = model::activations::recomputed;
  options.micro_batches_at_once = static_cast<int>(table.micro_batches_at_once);
  options.computes = table.compute_dtype;
  options.threads = threads;
  return options;
}

namespace {

train::value_learner_options options_with(const pipeline::pipeline& p, const pipeline::critic_table& table, int threads,
                                          train::team_seat seat) {
  auto options = value_learner_options_of(p, table, threads);
  options.device = device_for(p, *p.of<pipeline::critic_table>().at(0)).str();
  options.seat = std::move(seat);
  return options;
}

} // namespace

critic_core::critic_core(const pipeline::pipeline& p, const pipeline::critic_table& table,
                         const std::filesystem::path& checkpoint, int threads, train::team_seat seat)
    : model_(load_critic(p, table, checkpoint)),
      learner_(model_.config, model_.parameters, options_with(p, table, threads, std::move(seat))),
      rules_(columns::training_rules_of(p)), rewards_(reward_parts_of(p)), threads_(threads) {
  model_.parameters.clear();
  if (!checkpoint.empty())
    learner_.load_state(critic_optimizer_folder(checkpoint));
}

bool critic_core::keep(std::uint64_t group, const columns::column_set& columns, std::string domain) {
  auto made = columns::training_group_of(group, columns, rules_, std::move(domain));
  const bool flat = columns::is_flat(made);
  keep(std::move(made));
  return flat;
}

void critic_core::keep(train::training_group group) {
  groups_.keep(std::move(group));
}

void critic_core::forget(std::uint64_t group) {
  groups_.forget(group);
}

std::vector<float> critic_core::values(std::span<const std::int32_t> prompt,
                                       std::span<const std::vector<std::int32_t>> answers,
                                       const model::segment_begins& segments) const {
  return learner_.values(prompt, answers, segments);
}

train::column_origin critic_core::origin() const {
  return {static_cast<std::uint32_t>(learner_.steps()), static_cast<std::uint32_t>(threads_)};
}

transport::bundle critic_core::value_columns(const columns::column_set& columns) const {
  return value_columns_of(
      values(columns.view(column::prompt_tokens), columns::answers_in(columns), columns::segments_in(columns)),
      origin());
}

transport::bundle critic_core::value_columns(const columns::column_set& columns, const critic_snapshot& then) const {
  return value_columns_of(learner_.values(*then.decoder, columns.view(column::prompt_tokens),
                                          columns::answers_in(columns), columns::segments_in(columns)),
                          then.origin);
}

batch_report critic_core::train(const train_batch& batch, std::stop_token stop, std::span<const float> returns,
                                std::optional<std::int64_t> cut) {
  auto groups = groups_.of(batch.groups);
  if (!rewards_.empty())
    train::mix_rewards(groups, rewards_);
  batch_ = {};
  train::mask_old(groups, batch.mask, batch.train_from);
  auto result = train::naming_step(
      batch.step, [&] { return learner_.gradient(groups, batch.version, std::move(stop), returns, cut); });
  batch_ = batch;
  batch_report report;
  report.step = batch.step;
  report.part = batch.part;
  report.ends_step = batch.ends_step;
  report.interrupted = result.result == train::step_report::outcome::stopped;
  report.skipped = result.result == train::step_report::outcome::not_finite;
  report.complaint = result.reason + (result.reason.empty() || result.lesson.empty() ? "" : "; ")
                     + (result.lesson.empty() ? "" : "the critic: " + result.lesson);
  report.critic_cut = result.cut;
  auto whole = batch.part > 0 ? so_far_ : std::nullopt;
  if (whole)
    *whole += result;
  report.metrics = metrics_of(whole.value_or(result));
  report_ = std::move(whole).value_or(result);
  return report;
}

void critic_core::end_step(const millrace::end_step& how) {
  const auto batch = std::exchange(batch_, {});
  if (!how.apply || batch.step != how.step || batch.part != how.part)
    return;
  learner_.apply();
  so_far_ = batch.ends_step ? std::nullopt : std::optional(std::move(report_));
  groups_.forget(batch.groups);
}

std::shared_future<std::string> critic_core::begin_checkpoint(const std::filesystem::path& folder) const {
  if (!std::filesystem::is_directory(folder))
    throw input_error(folder.string() + ": no such folder, want one to write the checkpoint into");
  std::filesystem::create_directories(critic_model_folder(folder));
  std::filesystem::create_directories(critic_optimizer_folder(folder));
  model::write_description_files(critic_model_folder(folder), model_);
  return learner_.begin_to_save(critic_optimizer_folder(folder), critic_model_folder(folder));
}

std::uint64_t critic_core::parameter_count() const {
  return learner_.trained_numbers();
}

} // namespace millrace::roles
