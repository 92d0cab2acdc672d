#include "actors/learning.hpp"

#include "actors/column_origin.hpp"
#include "actors/optimizer_options.hpp"
#include "actors/weights_bundle.hpp"
#include "runtime/input_error.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/telemetry/metrics.hpp"
#include "runtime/telemetry/storage.hpp"
#include "runtime/train/lineage.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <utility>

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

/// The figures of the parts of the step under way.
std::filesystem::path step_file(const std::filesystem::path& checkpoint) { return optimizer_folder(checkpoint) / "step.json"; }

std::filesystem::path adapter_folder(const std::filesystem::path& checkpoint) { return checkpoint / "adapter"; }
std::filesystem::path average_folder(const std::filesystem::path& checkpoint) { return checkpoint / "ema"; }

/// What training starts from. Adapters stand on the model as it was, also after a resume.
model::checkpoint load(const pipeline::pipeline& p, const std::filesystem::path& checkpoint) {
  const auto& table = table_of(p);
  auto loaded = model::load_checkpoint(checkpoint.empty() || table.lora ? p.models.at(table.model).path : model_folder(checkpoint));
  const auto* row = algorithms::find(table.algorithm);
  return row && row->on == algorithms::head::score ? model::with_score_head(std::move(loaded)) : loaded;
}

/// The learner's options, with the adapter that they ask for.
train::learner_options options_for(const pipeline::pipeline& p, const std::filesystem::path& checkpoint, const model::checkpoint& base,
                                   int threads) {
  auto options = learner_options_of(p, threads);
  const auto& table = table_of(p);
  if (!table.lora)
    return options;
  if (const auto* row = algorithms::find(table.algorithm); row && row->on == algorithms::head::score)
    throw input_error("roles." + p.policy().name + ".lora: found with algorithm \"" + table.algorithm +
                      "\", whose score head no adapter trains, want the whole model trained");
  if (!checkpoint.empty())
    options.adapter = model::load_adapter(adapter_folder(checkpoint));
  else if (!table.lora->start.empty())
    options.adapter = model::load_adapter(table.lora->start);
  else
    options.adapter = model::new_adapter(base.parameters, table.lora->rank, table.lora->alpha, table.lora->targets,
                                         static_cast<std::uint64_t>(p.run.seed));
  options.adapter->base_path = p.models.at(table.model).path.string();
  return options;
}

std::string listed(const std::vector<std::uint64_t>& groups) {
  std::string out;
  for (const auto id : groups)
    out += (out.empty() ? "" : ", ") + std::to_string(id);
  return (groups.size() == 1 ? "group " : "groups ") + out;
}

/// Why a step was not applied, or what was left out of it; with the groups.
std::string complaint_of(const train::step_report& r) {
  std::string out = r.reason;
  if (!r.culprits.empty())
    out += " (" + listed(r.culprits) + ")";
  else if (!r.unusable.empty())
    out += (out.empty() ? "" : "; ") + listed(r.unusable) + " left out: a reward or log-probability is not finite";
  return out;
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
  set(metric::length_max, static_cast<double>(r.longest_answer));
  set(metric::staleness_mean, r.staleness_mean);
  set(metric::staleness_max, r.staleness_max);
  set(metric::clip_fraction, r.seen.clip_fraction());
  set(metric::policy_kl, r.seen.kl_k1());
  set(metric::mismatch_kl, r.seen.kl_k3());
  set(metric::kl, r.seen.mean_reference_kl());
  set(metric::entropy, r.seen.mean_entropy());
  set("kl/proximal", r.seen.proximal_kl());
  set("kl/coefficient", r.kl_coefficient);
  set("updates", static_cast<double>(r.updates));
  set("updates/stopped_on_kl", r.stopped_on_kl ? 1 : 0);
  set("groups/unusable", static_cast<double>(r.unusable.size()));
  set("importance/masked_fraction", r.seen.masked_fraction());
  set("importance/mean", r.seen.mean_weight());
  set("importance/max", r.seen.largest_weight);
  set("importance/truncated_fraction", r.seen.truncated_fraction());
  set("importance/effective_sample_fraction", r.seen.effective_sample_fraction());
  if (r.logprob_mismatch >= 0)
    set(metric::logprob_gap, r.logprob_mismatch);
  if (r.pairs > 0)
    set("preference/accuracy", static_cast<double>(r.pairs_right) / static_cast<double>(r.pairs));
  if (r.text_loss >= 0)
    set("pretraining/loss", r.text_loss);
  for (std::size_t i = 0; i < r.by_age.size(); ++i) {
    const auto& here = r.by_age[i];
    const auto& seen = r.seen.by_age[i];
    if (here.tokens == 0)
      continue;
    const auto of_age = [&](std::string_view figure, double value) { m[metric::of_age(algorithms::age_words[i], figure)] = value; };
    of_age("tokens", static_cast<double>(here.tokens));
    if (here.answers > 0)
      of_age("reward", here.reward / static_cast<double>(here.answers));
    if (seen.tokens == 0)
      continue;
    const auto mean = [&](double sum) { return sum / static_cast<double>(seen.tokens); };
    of_age("entropy", mean(seen.entropy));
    of_age("kl", mean(seen.k3));
    of_age("kl_k1", mean(seen.k1));
    of_age("ratio", mean(seen.ratio));
    of_age("ratio_max", seen.largest_ratio);
    of_age("clip_fraction", mean(static_cast<double>(seen.clipped)));
  }
  set("tokens/prompt", static_cast<double>(r.prompt_tokens));
  set("tokens/fed", static_cast<double>(r.fed_tokens));
  m[telemetry::metric::timing("forward")] = r.forward_s;
  m[telemetry::metric::timing("backward")] = r.backward_s;
  m[telemetry::metric::timing("optimizer")] = r.optimizer_s;
  m[telemetry::metric::timing("train")] = r.total_s;
  return m;
}

/// The columns of several rewards, and their weighted sum.
void take_rewards(train::training_group& group, const column_set& columns, std::span<const pipeline::reward_part_table> rewards) {
  std::vector<double> sum(group.answers.size());
  for (const auto& part : rewards) {
    const auto values = columns.view<float>("reward." + part.name);
    if (values.size() != sum.size())
      throw std::invalid_argument("column 'reward." + part.name + "' has " + std::to_string(values.size()) + " entries for "
                                  + std::to_string(sum.size()) + " answers");
    for (std::size_t i = 0; i < sum.size(); ++i)
      sum[i] += part.weight * values[i];
    group.parts.push_back(copied(values));
  }
  group.reward.assign(sum.begin(), sum.end());
}

} // namespace

train::training_group training_group_of(std::uint64_t id, const column_set& columns, bool mask_truncated,
                                        std::span<const pipeline::reward_part_table> rewards) {
  const auto lengths = columns.view<std::int32_t>("lengths");
  train::training_group group;
  group.id = id;
  group.prompt = copied(columns.view<std::int32_t>("prompt_tokens"));
  group.answers = nested(columns.view<std::int32_t>("tokens"), lengths);
  if (const auto mask = columns.view<std::uint8_t>("mask"); std::find(mask.begin(), mask.end(), 0) != mask.end()) {
    group.mask = nested(mask, lengths);
    group.masked_tokens = std::count(mask.begin(), mask.end(), 0);
  }
  group.behaviour_logprob = nested(columns.view<float>("logprob"), lengths);
  group.version = nested(columns.view<std::uint32_t>("version"), lengths);
  const auto recomputed = columns.has("recomputed") ? by_answer(columns.view<std::uint8_t>("recomputed"), lengths)
                                                    : std::vector<std::span<const std::uint8_t>>(lengths.size());
  for (std::size_t i = 0; i < lengths.size(); ++i)
    group.sampled.push_back(train::runs_of(group.version[i], recomputed[i]));
  if (columns.has("kept"))
    for (const auto index : columns.view<std::int32_t>("kept"))
      group.kept.push_back(static_cast<std::uint32_t>(index));
  if (!group.kept.empty() && group.kept.size() != group.answers.size())
    throw std::invalid_argument("column 'kept': want one entry an answer");
  group.origins = origins_in(columns);
  if (rewards.empty())
    group.reward = copied(columns.view<float>("reward"));
  else
    take_rewards(group, columns, rewards);
  for (const auto& [name, column] : {std::pair{"ref_logprob", &group.ref_logprob}, std::pair{"value", &group.value}})
    if (columns.has(name))
      *column = nested(columns.view<float>(name), lengths);
  if (group.reward.size() != group.answers.size())
    throw std::invalid_argument("column 'reward' has " + std::to_string(group.reward.size()) + " entries for "
                                + std::to_string(group.answers.size()) + " answers");
  const auto per_token = [&group](const auto& change) {
    change(group.answers);
    change(group.mask);
    change(group.behaviour_logprob);
    change(group.version);
    change(group.ref_logprob);
    change(group.value);
  };
  if (mask_truncated) {
    const auto finish = columns.view<std::uint8_t>("finish");
    for (std::size_t i = 0; i < group.answers.size() && i < finish.size(); ++i)
      if (finish[i] != 0) {
        group.masked_tokens += trained_tokens(group, i);
        per_token([i](auto& column) {
          if (!column.empty())
            column[i].clear();
        });
      }
  }
  if (columns.has("greedy")) {
    const auto greedy = columns.view<std::uint8_t>("greedy");
    if (greedy.size() != group.answers.size() || greedy.empty() || greedy.back() == 0)
      throw std::invalid_argument("column 'greedy': want one entry an answer, the last one set");
    if (mask_truncated && columns.view<std::uint8_t>("finish").back() != 0)
      group.masked_tokens -= lengths.back(); // it was never to be trained
    per_token([](auto& column) {
      if (!column.empty())
        column.pop_back();
    });
    for (auto& part : group.parts)
      part.pop_back();
    const float baseline = group.reward.back();
    group.reward.pop_back();
    group.baseline.assign(group.reward.size(), baseline);
  }
  return group;
}

bool is_flat(const train::training_group& group) {
  return std::all_of(group.reward.begin(), group.reward.end(), [&](float reward) { return reward == group.reward.front(); });
}

std::map<std::string, double> numbers_of(std::span<const algorithms::option> options, const pipeline::option_values& values) {
  std::map<std::string, double> numbers;
  for (const algorithms::option& o : options) {
    const auto found = values.find(std::string(o.name));
    if (found == values.end())
      continue;
    const auto* word = std::get_if<std::string>(&found->second);
    numbers[found->first] = word ? algorithms::number_of(o, *word) : std::get<double>(found->second);
  }
  return numbers;
}

algorithms::loss_options loss_options_of(const pipeline::loss_table& table) {
  algorithms::loss_options loss;
  if (!table.aggregation.empty())
    loss.how = algorithms::aggregation_named(table.aggregation);
  if (table.fixed_length > 0)
    loss.fixed_length = table.fixed_length;
  loss.kl = algorithms::kl_estimator_named(table.kl_estimator);
  loss.clamps = {table.kl_clamp_input, table.kl_clamp_output};
  loss.kl_coefficient = table.kl_coefficient;
  loss.entropy_coefficient = table.entropy_coefficient;
  loss.against = algorithms::proximal_named(table.proximal);
  for (const pipeline::correction_entry& entry : table.corrections) {
    const algorithms::correction* row = algorithms::find_correction(entry.type);
    loss.corrections.push_back({row, algorithms::option_values(row->options, numbers_of(row->options, entry.options))});
  }
  return loss;
}

std::vector<train::reward_part> reward_parts_of(const pipeline::pipeline& p) {
  std::vector<train::reward_part> parts;
  for (const auto& part : table_of(p).rewards)
    parts.push_back({part.name, part.weight, train::normalisation_named(part.normalise)});
  return parts;
}

train::learner_options learner_options_of(const pipeline::pipeline& p, int threads) {
  const auto& table = table_of(p);
  train::learner_options options;
  options.algorithm = table.algorithm;
  options.algorithm_options = numbers_of(algorithms::find(table.algorithm)->options, table.algorithm_options);
  options.loss = loss_options_of(table.loss);
  options.kl_control = {table.loss.kl_target, table.loss.kl_horizon};
  options.updates_per_batch = table.updates_per_batch;
  options.epochs = table.epochs;
  options.target_kl = table.target_kl;
  options.optimizer = optimizer_options_of(table.optimizer, p.run.steps);
  options.temperature = pipeline::sampling_temperature(p);
  options.sampled = !p.of<pipeline::rollout_table>().empty();
  options.micro_batch_tokens = table.micro_batch_tokens;
  options.threads = threads;
  options.device = p.run.device;
  return options;
}

learning::learning(const pipeline::pipeline& p, const std::filesystem::path& checkpoint, int threads)
    : table_(table_of(p)), model_(load(p, checkpoint)),
      learner_(model_.config, model_.parameters, options_for(p, checkpoint, model_, threads)),
      rewards_(reward_parts_of(p)), threads_(threads) {
  model_.parameters.clear();
  for (const auto* critic : p.of<pipeline::critic_table>())
    idle_steps_ = std::get<pipeline::critic_table>(critic->options).alone_steps;
  if (!checkpoint.empty()) {
    learner_.load_state(optimizer_folder(checkpoint));
    version_ = read_version(checkpoint);
    if (std::filesystem::exists(step_file(checkpoint)))
      so_far_ = train::step_report_from(telemetry::read_file(step_file(checkpoint)));
  }
  if (table_.ema_decay > 0)
    average_.emplace(checkpoint.empty() ? learner_.parameters() : model::load_checkpoint(average_folder(checkpoint)).parameters,
                     table_.ema_decay);
  if (table_.pretraining)
    texts_.emplace(table_.pretraining->file);
}

std::vector<train::training_group> learning::texts_of(std::uint64_t step) const {
  std::vector<train::training_group> groups;
  for (const auto& text : texts_->of_step(step - 1, static_cast<std::size_t>(table_.pretraining->rows_per_step))) {
    auto tokens = model_.tok->encode(text, true);
    tokens.resize(std::min(tokens.size(), static_cast<std::size_t>(table_.pretraining->max_tokens)));
    if (tokens.size() < 2)
      continue;
    auto& group = groups.emplace_back();
    group.prompt = {tokens.front()};
    group.answers = {{tokens.begin() + 1, tokens.end()}};
  }
  return groups;
}

void learning::keep(train::training_group group) { groups_.keep(std::move(group)); }

void learning::forget(std::uint64_t group) { groups_.forget(group); }

batch_report learning::train(const train_batch& batch, std::stop_token stop) {
  batch_report report;
  report.step = batch.step;
  report.part = batch.part;
  report.ends_step = batch.ends_step;
  train::step_lineage lineage{batch.step, batch.version, threads_, {}, batch.part, batch.ends_step, batch.mask, batch.train_from};
  if (batch.groups.empty()) { // the rest of the step's groups were lost
    end_step(batch, report);
    report.lineage = train::to_json(lineage);
    return report;
  }
  auto groups = groups_.of(batch.groups);
  for (const auto& group : groups)
    lineage.groups.push_back(train::lineage_of(group));
  if (!rewards_.empty())
    train::mix_rewards(groups, rewards_);
  if (texts_)
    learner_.mix(texts_of(batch.step), table_.pretraining->coefficient);
  report.masked_tokens = train::mask_old(groups, batch.mask, batch.train_from);
  auto result = learner_.step(groups, batch.version, std::move(stop),
                              {.begins = batch.part == 0, .ends = batch.ends_step, .moves = batch.step > static_cast<std::uint64_t>(idle_steps_)});
  report.interrupted = result.result == train::step_report::outcome::stopped;
  if (report.interrupted)
    return report;
  returns_ = std::exchange(result.returns, {});
  report.skipped = result.result == train::step_report::outcome::not_finite;
  report.complaint = complaint_of(result);
  if (!rewards_.empty()) // normalised, the mean says nothing
    result.reward_mean = train::mean_raw_reward(groups, rewards_);
  for (const auto& group : groups) {
    report.masked_tokens += group.masked_tokens;
    for (std::size_t i = 0; i < group.answers.size(); ++i)
      report.trained_tokens += train::tokens_in_loss(group, i);
  }
  report.lineage = train::to_json(lineage);
  groups_.forget(batch.groups);
  if (batch.part == 0 || !so_far_)
    so_far_ = std::move(result);
  else
    *so_far_ += result;
  if (batch.ends_step)
    end_step(batch, report);
  return report;
}

/// @param report gets the figures of all parts
void learning::end_step(const train_batch& batch, batch_report& report) {
  learner_.end_step();
  version_ = batch.version + 1;
  const auto whole = std::exchange(so_far_, std::nullopt);
  if (!whole)
    return;
  report.skipped = whole->result == train::step_report::outcome::not_finite;
  report.metrics = metrics_of(*whole);
  if (average_ && whole->updates > 0)
    average_->update(learner_.parameters());
}

transport::bundle learning::snapshot(std::uint32_t version) const {
  if (version != version_)
    throw std::logic_error("the parameters are those of version " + std::to_string(version_));
  return bundle_of(learner_.version_parameters());
}

void learning::write_checkpoint(const std::filesystem::path& folder) const {
  if (!std::filesystem::is_directory(folder))
    throw input_error(folder.string() + ": no such folder, want one to write the checkpoint into");
  const auto write_model = [&](const std::filesystem::path& into, const model::weights& parameters) {
    std::filesystem::create_directories(into);
    auto whole = model_;
    for (const auto& parameter : parameters)
      whole.parameters.push_back({parameter.name, parameter.tensor.detach().cpu()});
    model::write_checkpoint_files(into, whole);
  };
  if (!table_.lora || table_.lora->merged)
    write_model(model_folder(folder), learner_.parameters());
  if (average_)
    write_model(average_folder(folder), average_->parameters());
  if (const auto* adapter = learner_.adapter()) {
    std::filesystem::create_directories(adapter_folder(folder));
    model::write_adapter_files(adapter_folder(folder), *adapter, learner_.parameters());
  }
  std::filesystem::create_directories(optimizer_folder(folder));
  learner_.save_state(optimizer_folder(folder));
  std::ofstream(version_file(folder)) << version_ << '\n';
  if (so_far_)
    std::ofstream(step_file(folder)) << train::to_json(*so_far_);
}

std::uint64_t learning::parameter_count() const {
  std::uint64_t count = 0;
  const auto* adapter = learner_.adapter();
  for (const auto& parameter : adapter ? adapter->parameters : learner_.parameters())
    count += static_cast<std::uint64_t>(parameter.tensor.numel());
  return count;
}

} // namespace millrace::actors
