#include "actors/learning.hpp"

#include "actors/weights_bundle.hpp"
#include "runtime/input_error.hpp"
#include "runtime/telemetry/metrics.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>

namespace millrace::actors {
namespace {

template <class T>
std::vector<std::vector<T>> nested(std::span<const T> packed, std::span<const std::int32_t> lengths) {
  std::vector<std::vector<T>> answers;
  for (const auto answer : by_answer(packed, lengths))
    answers.emplace_back(answer.begin(), answer.end());
  return answers;
}

template <class T>
std::vector<T> copied(std::span<const T> values) {
  return {values.begin(), values.end()};
}

const pipeline::policy_table& table_of(const pipeline::pipeline& p) {
  return std::get<pipeline::policy_table>(p.policy().options);
}

/// Where a checkpoint of the policy keeps its two parts.
std::filesystem::path model_folder(const std::filesystem::path& checkpoint) { return checkpoint / "model"; }
std::filesystem::path optimizer_folder(const std::filesystem::path& checkpoint) { return checkpoint / "optimizer"; }

/// The version that the weights are; more than the optimizer's steps where a step was skipped.
std::filesystem::path version_file(const std::filesystem::path& checkpoint) { return checkpoint / "version"; }

std::uint32_t read_version(const std::filesystem::path& checkpoint) {
  std::ifstream file(version_file(checkpoint));
  std::uint32_t version = 0;
  if (!(file >> version))
    throw input_error(version_file(checkpoint).string() + ": missing or damaged, want the version of the weights");
  return version;
}

model::checkpoint load(const pipeline::pipeline& p, const std::filesystem::path& checkpoint) {
  return model::load_checkpoint(checkpoint.empty() ? p.models.at(table_of(p).model).path : model_folder(checkpoint));
}

/// The figures of a step under the names that dashboards know.
std::map<std::string, double> metrics_of(const train::step_report& r) {
  namespace metric = telemetry::metric;
  std::map<std::string, double> m;
  const auto set = [&](std::string_view name, double value) { m[std::string(name)] = value; };
  set(metric::loss, r.loss);
  set(metric::reward, r.reward_mean);
  set(metric::reward_std, r.reward_deviation);
  set(metric::gradient_norm, r.gradient_norm);
  set(metric::learning_rate, r.learning_rate);
  set(metric::flat_groups, r.groups ? static_cast<double>(r.zero_variance_groups) / static_cast<double>(r.groups) : 0);
  set(metric::length_mean, r.answers ? static_cast<double>(r.answer_tokens) / static_cast<double>(r.answers) : 0);
  set(metric::staleness_mean, r.staleness_mean);
  set(metric::staleness_max, r.staleness_max);
  set(metric::clip_fraction, r.seen.clip_fraction());
  set(metric::policy_kl, r.seen.kl_k1());
  set(metric::mismatch_kl, r.seen.kl_k3());
  set(metric::kl, r.seen.mean_reference_kl());
  set(metric::entropy, r.seen.mean_entropy());
  set("importance/mean", r.seen.mean_weight());
  set("importance/max", r.seen.largest_weight);
  set("importance/truncated_fraction", r.seen.truncated_fraction());
  set("importance/effective_sample_fraction", r.seen.effective_sample_fraction());
  if (r.logprob_mismatch >= 0)
    set(metric::logprob_gap, r.logprob_mismatch);
  set("tokens/prompt", static_cast<double>(r.prompt_tokens));
  set("tokens/fed", static_cast<double>(r.fed_tokens));
  m[telemetry::metric::timing("forward")] = r.forward_s;
  m[telemetry::metric::timing("backward")] = r.backward_s;
  m[telemetry::metric::timing("optimizer")] = r.optimizer_s;
  m[telemetry::metric::timing("train")] = r.total_s;
  return m;
}

} // namespace

train::training_group training_group_of(std::uint64_t id, const column_set& columns) {
  const auto lengths = columns.view<std::int32_t>("lengths");
  train::training_group group;
  group.id = id;
  group.prompt = copied(columns.view<std::int32_t>("prompt_tokens"));
  group.answers = nested(columns.view<std::int32_t>("tokens"), lengths);
  group.behaviour_logprob = nested(columns.view<float>("logprob"), lengths);
  group.version = nested(columns.view<std::uint32_t>("version"), lengths);
  group.reward = copied(columns.view<float>("reward"));
  if (columns.has("ref_logprob"))
    group.ref_logprob = nested(columns.view<float>("ref_logprob"), lengths);
  if (group.reward.size() != group.answers.size())
    throw std::invalid_argument("column 'reward' has " + std::to_string(group.reward.size()) + " entries for "
                                + std::to_string(group.answers.size()) + " answers");
  return group;
}

train::learner_options learner_options_of(const pipeline::pipeline& p, int threads) {
  const auto& table = table_of(p);
  const auto& o = table.optimizer;
  train::learner_options options;
  options.algorithm = table.algorithm;
  for (const auto& [name, value] : table.algorithm_options)
    options.algorithm_options[name] = std::get<double>(value);
  options.loss.how = algorithms::aggregation_named(table.loss.aggregation);
  options.loss.kl = algorithms::kl_estimator_named(table.loss.kl_estimator);
  options.loss.kl_coefficient = table.loss.kl_coefficient;
  if (table.loss.importance_cap > 0) {
    const auto* truncated = algorithms::find_correction("truncated");
    options.loss.corrections.push_back({truncated, algorithms::option_values(truncated->options, {{"cap", table.loss.importance_cap}})});
  }
  options.optimizer.lr = o.lr;
  options.optimizer.beta1 = o.betas[0];
  options.optimizer.beta2 = o.betas[1];
  options.optimizer.eps = o.eps;
  options.optimizer.weight_decay = o.weight_decay;
  options.optimizer.warmup_steps = o.warmup_steps;
  options.optimizer.schedule = train::decay_named(o.decay);
  options.optimizer.total_steps = p.run.steps;
  options.optimizer.final_lr_fraction = o.final_lr_fraction;
  options.optimizer.clip_norm = o.clip_norm;
  const auto rollouts = p.of<pipeline::rollout_table>();
  const double temperature = std::get<pipeline::rollout_table>(rollouts.at(0)->options).temperature;
  options.temperature = temperature > 0 ? temperature : 1;
  options.micro_batch_tokens = table.micro_batch_tokens;
  options.threads = threads;
  options.device = p.run.device;
  return options;
}

learning::learning(const pipeline::pipeline& p, const std::filesystem::path& checkpoint, int threads)
    : model_(load(p, checkpoint)), learner_(model_.config, model_.parameters, learner_options_of(p, threads)) {
  model_.parameters.clear();
  if (!checkpoint.empty()) {
    learner_.load_state(optimizer_folder(checkpoint));
    version_ = read_version(checkpoint);
  }
}

void learning::keep(train::training_group group) {
  const std::lock_guard lock(mutex_);
  groups_.insert_or_assign(group.id, std::move(group));
}

void learning::forget(std::uint64_t group) {
  const std::lock_guard lock(mutex_);
  groups_.erase(group);
}

batch_report learning::train(const train_batch& batch, std::stop_token stop) {
  std::vector<train::training_group> groups;
  {
    const std::lock_guard lock(mutex_);
    for (const auto id : batch.groups) {
      const auto found = groups_.find(id);
      if (found == groups_.end())
        throw std::logic_error("group " + std::to_string(id) + " was never fetched");
      groups.push_back(found->second);
    }
  }
  const auto result = learner_.step(groups, batch.version, std::move(stop));
  batch_report report;
  report.step = batch.step;
  report.interrupted = result.result == train::step_report::outcome::stopped;
  report.skipped = result.result == train::step_report::outcome::not_finite;
  report.complaint = result.reason;
  report.metrics = metrics_of(result);
  if (report.interrupted)
    return report;
  double longest = 0;
  for (const auto& group : groups)
    for (const auto& answer : group.answers) {
      report.trained_tokens += static_cast<std::int64_t>(answer.size());
      longest = std::max(longest, static_cast<double>(answer.size()));
    }
  report.metrics[std::string(telemetry::metric::length_max)] = longest;
  version_ = batch.version + 1;
  const std::lock_guard lock(mutex_);
  for (const auto id : batch.groups)
    groups_.erase(id);
  return report;
}

transport::bundle learning::snapshot(std::uint32_t version) const {
  if (version != version_)
    throw std::logic_error("the parameters are those of version " + std::to_string(version_));
  return bundle_of(learner_.parameters());
}

void learning::write_checkpoint(const std::filesystem::path& folder) const {
  if (!std::filesystem::is_directory(folder))
    throw input_error(folder.string() + ": no such folder, want one to write the checkpoint into");
  std::filesystem::create_directories(model_folder(folder));
  std::filesystem::create_directories(optimizer_folder(folder));
  auto whole = model_;
  for (const auto& parameter : learner_.parameters())
    whole.parameters.push_back({parameter.name, parameter.tensor.detach().cpu()});
  model::write_checkpoint_files(model_folder(folder), whole);
  learner_.save_state(optimizer_folder(folder));
  std::ofstream(version_file(folder)) << version_ << '\n';
}

std::uint64_t learning::parameter_count() const {
  std::uint64_t count = 0;
  for (const auto& parameter : learner_.parameters())
    count += static_cast<std::uint64_t>(parameter.tensor.numel());
  return count;
}

} // namespace millrace::actors
