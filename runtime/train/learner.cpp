#include "runtime/train/learner.hpp"

#include "algorithms/algorithm.hpp"
#include "algorithms/group_statistics.hpp"
#include "runtime/input_error.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/model/safetensors.hpp"
#include "runtime/model/token_logprob.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/train/answer_scores.hpp"
#include "runtime/train/micro_batches.hpp"
#include "runtime/train/optimizer_state.hpp"
#include "runtime/train/step_columns.hpp"
#include "runtime/train/stopwatch.hpp"
#include "runtime/train/trainable.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace millrace::train {
namespace {

const algorithms::algorithm& row_named(const std::string& name) {
  if (const auto* row = algorithms::find(name))
    return *row;
  std::string known;
  for (const auto* row : algorithms::all())
    known += (known.empty() ? "" : ", ") + std::string(row->name);
  throw std::invalid_argument("algorithm '" + name + "': unknown, want one of " + known);
}

void check(const learner_options& o) {
  if (!(o.temperature > 0))
    throw std::invalid_argument("temperature: " + std::to_string(o.temperature) + ", want > 0");
  if (o.micro_batch_tokens < 1)
    throw std::invalid_argument("micro_batch_tokens: " + std::to_string(o.micro_batch_tokens) + ", want >= 1");
  if (o.threads < 0)
    throw std::invalid_argument("threads: " + std::to_string(o.threads) + ", want >= 0");
  if (!(o.loss.kl_coefficient >= 0) || !(o.loss.entropy_coefficient >= 0))
    throw std::invalid_argument("coefficients of KL and entropy: want >= 0");
  if (o.updates_per_batch < 1 || o.epochs < 1)
    throw std::invalid_argument("updates_per_batch, epochs: want >= 1");
  if (!(o.target_kl >= 0))
    throw std::invalid_argument("target_kl: want >= 0");
}

/// The adapter's halves as leaves with gradients.
std::optional<model::adapter> trainable_adapter(const std::optional<model::adapter>& given, at::Device device) {
  if (!given)
    return std::nullopt;
  model::adapter out = *given;
  out.parameters = trainable(given->parameters, device);
  return out;
}

/// Where the weights of the start of the step under way are kept.
std::filesystem::path start_file(const std::filesystem::path& folder) { return folder / "step_start.safetensors"; }

/// Where an adapted coefficient is kept, beside the optimizer.
std::filesystem::path coefficient_file(const std::filesystem::path& folder) { return folder / "kl_coefficient"; }

} // namespace

struct learner::state {
  learner_options options;
  const algorithms::algorithm& row;
  algorithms::option_values values;
  at::Device device;
  std::optional<model::adapter> adapter;
  model::decoder decoder;
  adamw optimizer;
  std::vector<training_group> texts; ///< of the next step
  double text_coefficient = 0;
  model::weights merged;             ///< with an adapter
  std::int64_t merged_at = -1;       ///< optimizer steps
  model::weights start;              ///< what is trained, as it was when the step under way began; empty between steps

  state(model::model_config config, const model::weights& parameters, learner_options o)
      : options(std::move(o)), row(row_named(options.algorithm)), values(row.options, options.algorithm_options),
        device(device_named(options.device)), adapter(trainable_adapter(options.adapter, device)),
        decoder(std::move(config), adapter ? frozen(parameters, device) : trainable(parameters, device)),
        optimizer(trained(), options.optimizer) {
    check(options);
    if (adapter)
      model::adapt(decoder, *adapter);
  }

  const model::weights& trained() const { return adapter ? adapter->parameters : decoder.parameters(); }

  /// What is trained, as of now.
  model::weights copy_of_trained() const {
    model::weights out;
    for (const auto& parameter : trained())
      out.push_back({parameter.name, parameter.tensor.detach().clone()});
    return out;
  }

  /// Exchanges what is trained and the copy of the step's start.
  void swap_start() {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < start.size(); ++i) {
      const at::Tensor now = trained()[i].tensor.detach();
      trained()[i].tensor.set_data(start[i].tensor);
      start[i].tensor = now;
    }
  }

  bool adapts() const { return options.kl_control.target > 0; }

  struct outputs {
    at::Tensor logprob; ///< [tokens of the micro-batch]; zeros for a score head
    at::Tensor entropy; ///< [tokens]
    at::Tensor score;   ///< [answers], of a score head only
  };

  outputs forward(std::span<const training_group> groups, const micro_batch& batch) const {
    if (row.on == algorithms::head::score) {
      const at::Tensor zeros = at::zeros({batch.tokens}, at::TensorOptions(device).dtype(at::kFloat));
      return {zeros, zeros, answer_scores(decoder, groups, batch)};
    }
    return language_model(groups, batch, options.temperature);
  }

  outputs language_model(std::span<const training_group> groups, const micro_batch& batch, double temperature) const {
    const model::packed_sequences packed = pack_part(groups, batch);
    model::training_operations ops(packed.groups);
    const at::Tensor hidden = decoder.hidden(ops, packed.tokens.to(device), packed.positions.to(device));
    const auto [logprob, entropy] =
        model::token_logprob(hidden, decoder.head(), packed.rows.to(device), packed.targets.to(device), temperature);
    return {logprob, entropy, {}};
  }

  /// What the model thinks of each answer where answers are compared: its score, or by how much more likely it is than the
  /// reference has it. Undefined elsewhere.
  at::Tensor opinion_of(const algorithms::answer_columns& answers) const {
    if (answers.score.defined())
      return answers.score.detach();
    if (options.sampled || !answers.ref_logprob.defined())
      return {};
    return algorithms::sum_by_answer(answers.logprob.detach() - answers.ref_logprob, answers.length);
  }

  /// Adds the gradients of the texts' share of the loss. @returns their mean loss, not weighted
  double accumulate_texts() {
    const auto batches = cut_micro_batches(texts, options.micro_batch_tokens);
    std::int64_t tokens = 0;
    for (const auto& batch : batches)
      tokens += batch.tokens;
    double sum = 0;
    for (const auto& batch : batches)
      if (batch.tokens > 0) {
        const at::Tensor mean = language_model(texts, batch, 1).logprob.sum() / (-static_cast<double>(tokens));
        sum += mean.item<double>();
        (mean * text_coefficient).backward();
      }
    return sum;
  }

  /// Whether `old_logprob` takes a pass of its own; else it is the current policy of the step's only update.
  bool wants_old_pass(std::size_t updates, step_part where) const {
    return row.wants_old_logprob || algorithms::needs_whole_step(options.loss) ||
           (options.loss.against == algorithms::proximal::recomputed && (updates > 1 || !where.begins));
  }

  /// Log-probabilities at the start of the step. @returns [N] on the CPU; undefined where `stop` ended it
  at::Tensor old_logprobs(std::span<const training_group> groups, const std::vector<update_part>& parts, const std::stop_token& stop) const {
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> out;
    for (const auto& part : parts)
      for (const auto& batch : part.micro_batches) {
        if (stop.stop_requested())
          return {};
        if (batch.tokens > 0)
          out.push_back(forward(groups, batch).logprob.to(at::kCPU));
      }
    return out.empty() ? at::empty({0}, at::kFloat) : at::cat(out);
  }

  /// The columns of the whole step as a correction sees them that cannot do with less.
  algorithms::answer_columns whole_step(const step_batch& step, const at::Tensor& advantages, std::uint32_t version) const {
    algorithms::answer_columns all;
    all.logprob = all.old_logprob = step.columns.old_logprob;
    all.behaviour_logprob = step.columns.behaviour_logprob;
    all.ref_logprob = step.columns.ref_logprob;
    all.advantage = advantages.to(at::kFloat);
    all.length = step.columns.length;
    all.reward = step.columns.reward;
    all.group = step.columns.group;
    all.group_tokens = step.group_tokens;
    all.version = step.version;
    all.policy_version = version;
    all.trains = step.trains;
    return all;
  }

  /// A micro-batch of `whole` under the current weights.
  algorithms::answer_columns columns_of(const algorithms::answer_columns& whole, const micro_batch& batch, const outputs& out) const {
    const auto column = [&](const at::Tensor& x) {
      return x.defined() ? x.narrow(0, batch.first_token, batch.tokens).to(device) : at::Tensor();
    };
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, batch.first_answer, batch.answers).to(device); };
    algorithms::answer_columns answers;
    answers.logprob = out.logprob;
    answers.score = out.score;
    answers.old_logprob = whole.old_logprob.defined() ? column(whole.old_logprob) : out.logprob.detach();
    answers.behaviour_logprob = column(whole.behaviour_logprob);
    answers.ref_logprob = column(whole.ref_logprob);
    answers.advantage = column(whole.advantage);
    answers.length = part(whole.length);
    answers.reward = part(whole.reward);
    answers.group = part(whole.group);
    answers.group_tokens = part(whole.group_tokens);
    if (options.loss.entropy_coefficient > 0)
      answers.entropy = out.entropy;
    answers.version = column(whole.version);
    answers.policy_version = whole.policy_version;
    answers.step_weight = column(whole.step_weight);
    answers.trains = column(whole.trains);
    return answers;
  }

  /// Runs one micro-batch and adds its gradients. @returns its share of the loss; not finite: no gradients were added
  /// @param first no update of the step has been made by an earlier part
  double accumulate(std::span<const training_group> groups, const micro_batch& batch, const algorithms::answer_columns& whole,
                    const algorithms::step_totals& totals, bool first, algorithms::diagnostics& seen, step_report& report) {
    stopwatch watch;
    const outputs out = forward(groups, batch);
    const algorithms::answer_columns answers = columns_of(whole, batch, out);
    const at::Tensor loss = algorithms::policy_loss(row, values, options.loss, answers, totals, seen);
    algorithms::observe_entropy(answers, out.entropy, seen);
    if (const at::Tensor opinion = opinion_of(answers); report.updates == 0 && opinion.defined()) {
      const ranked_pairs ranked = rank_pairs(opinion, answers.reward, answers.group);
      report.pairs += ranked.pairs;
      report.pairs_right += ranked.right;
    }
    const bool of_start = whole.old_logprob.defined() || (first && report.updates == 0);
    if (report.updates == 0 && options.sampled && of_start) {
      const at::Tensor fresh = answers.version.eq(answers.policy_version);
      const at::Tensor mismatch = (answers.old_logprob - answers.behaviour_logprob).abs().masked_select(fresh);
      if (mismatch.numel() > 0)
        report.logprob_mismatch = std::max(report.logprob_mismatch, mismatch.max().item<double>());
    }
    const double value = loss.item<double>();
    report.forward_s += watch.lap();
    if (std::isfinite(value)) {
      loss.backward();
      report.backward_s += watch.lap();
    }
    return value;
  }

  step_report train(std::span<const training_group> groups, std::uint32_t version, const std::stop_token& stop, step_part where);

  /// @throws input_error where the file is not that of this model
  model::weights start_of(const std::filesystem::path& folder) const {
    const model::safetensors_file file(start_file(folder));
    auto out = copy_of_trained();
    for (auto& parameter : out) {
      const auto* stored = file.find(parameter.name);
      const at::Tensor read = stored ? model::to_float32(*stored) : at::Tensor();
      if (!read.defined() || read.sizes() != parameter.tensor.sizes())
        throw input_error(start_file(folder).string() + ": no tensor '" + parameter.name + "' of this model's shape");
      parameter.tensor.copy_(read);
    }
    return out;
  }

  enum class update_end { applied, far, not_finite, stopped };

  /// One optimizer update. Anything but `applied` leaves parameters and optimizer as they were.
  update_end update(std::span<const training_group> groups, const update_part& part, const algorithms::answer_columns& whole,
                    step_part where, const std::stop_token& stop, step_report& report) {
    clear_gradients(trained());
    algorithms::diagnostics seen;
    double loss = 0;
    for (const micro_batch& batch : part.micro_batches) {
      if (report.updates == 0 && stop.stop_requested()) {
        report.reason = "stopped after " + std::to_string(report.micro_batches) + " micro-batches";
        return update_end::stopped;
      }
      if (batch.tokens == 0)
        continue;
      const double share = accumulate(groups, batch, whole, part.totals, where.begins, seen, report);
      if (!std::isfinite(share)) {
        for (const auto& p : batch.parts)
          report.culprits.push_back(groups[p.group].id);
        report.reason = "the loss is not finite";
        return update_end::not_finite;
      }
      loss += share;
      report.fed_tokens += batch.fed_tokens;
      ++report.micro_batches;
    }
    report.seen += seen;
    if (options.target_kl > 0 && (report.updates > 0 || !where.begins) && seen.proximal_kl() > options.target_kl)
      return update_end::far;
    stopwatch watch;
    if (!texts.empty()) {
      report.text_loss = accumulate_texts();
      loss += text_coefficient * report.text_loss;
      report.backward_s += watch.lap();
    }
    const double norm = optimizer.gradient_norm();
    if (!std::isfinite(norm)) {
      for (const auto& batch : part.micro_batches)
        for (const auto& p : batch.parts)
          if (report.culprits.empty() || report.culprits.back() != groups[p.group].id)
            report.culprits.push_back(groups[p.group].id);
      report.reason = "the gradient is not finite";
      return update_end::not_finite;
    }
    if (report.updates == 0 && stop.stop_requested()) {
      report.reason = "stopped before the update";
      return update_end::stopped;
    }
    const double limit = options.optimizer.clip_norm;
    report.gradient_norm = norm;
    report.learning_rate = optimizer.step(limit > 0 && norm > limit ? limit / norm : 1, whole.policy_version);
    report.loss += loss;
    ++report.updates;
    report.optimizer_s += watch.lap();
    return update_end::applied;
  }
};

bool makes_returns(const std::string& algorithm) {
  const auto* row = algorithms::find(algorithm);
  return row && row->returns && row->wants_old_logprob;
}

learner::learner(model::model_config config, const model::weights& parameters, learner_options options)
    : state_(std::make_unique<state>(std::move(config), parameters, std::move(options))) {}

learner::~learner() = default;
learner::learner(learner&&) noexcept = default;
learner& learner::operator=(learner&&) noexcept = default;

step_report learner::step(std::span<const training_group> given, std::uint32_t version, std::stop_token stop, step_part where) {
  state& s = *state_;
  if (where.begins)
    s.start = where.ends ? model::weights{} : s.copy_of_trained();
  else if (s.start.empty())
    throw std::logic_error("a part of a step that has not begun");
  auto report = s.train(given, version, stop, where);
  if (where.ends && report.result != step_report::outcome::stopped)
    end_step();
  return report;
}

void learner::end_step() { state_->start.clear(); }

step_report learner::state::train(std::span<const training_group> given, std::uint32_t version, const std::stop_token& stop, step_part where) {
  state& s = *this;
  if (s.options.threads > 0 && at::get_num_threads() != s.options.threads)
    at::set_num_threads(s.options.threads);
  stopwatch whole;
  step_report report;
  const auto refuse = [&](step_report::outcome result, std::string reason) {
    report.result = result;
    report.reason = std::move(reason);
    report.total_s = whole.lap();
    return report;
  };

  std::vector<std::uint64_t> unusable;
  std::vector<training_group> kept;
  std::span<const training_group> groups = given;
  if (const auto finite = finite_groups(given); finite.size() < given.size()) {
    for (std::size_t g = 0, next = 0; g < given.size(); ++g)
      if (next < finite.size() && finite[next] == g) {
        kept.push_back(given[g]);
        ++next;
      } else {
        unusable.push_back(given[g].id);
      }
    groups = kept;
    if (groups.empty()) {
      report.unusable = report.culprits = unusable;
      return refuse(step_report::outcome::not_finite, "no group of the step has finite rewards and log-probabilities");
    }
  }

  step_batch batch = gather_columns(groups, s.decoder.config().vocab_size);
  report = describe(groups, batch, version);
  report.unusable = unusable;
  report.kl_coefficient = s.options.loss.kl_coefficient;
  const auto parts = cut_updates(groups, s.options.updates_per_batch, s.options.micro_batch_tokens, s.row.whole);
  const bool targets = makes_returns(s.options.algorithm);
  if (!where.moves && !targets) {
    report.total_s = whole.lap();
    return report;
  }
  if (s.wants_old_pass(parts.size() * static_cast<std::size_t>(s.options.epochs), where)) {
    stopwatch watch;
    const bool moved = !where.begins;
    if (moved)
      s.swap_start();
    batch.columns.old_logprob = s.old_logprobs(groups, parts, stop);
    if (moved)
      s.swap_start();
    report.forward_s += watch.lap();
    if (!batch.columns.old_logprob.defined())
      return refuse(step_report::outcome::stopped, "stopped before the first update");
  }
  if (targets) {
    const at::Tensor returns = s.row.returns(batch.columns, s.values).to(at::kFloat).contiguous();
    report.returns.assign(returns.data_ptr<float>(), returns.data_ptr<float>() + returns.numel());
    if (!where.moves) {
      report.total_s = whole.lap();
      return report;
    }
  }
  const at::Tensor advantages = s.row.advantages(batch.columns, s.values);
  if (!advantages.isfinite().all().item<bool>()) {
    for (const auto& group : groups)
      report.culprits.push_back(group.id);
    return refuse(step_report::outcome::not_finite, "the advantages are not finite");
  }
  algorithms::answer_columns columns = s.whole_step(batch, advantages, version);
  if (algorithms::needs_whole_step(s.options.loss))
    columns.step_weight = algorithms::step_weights(s.options.loss, columns);

  for (std::int64_t epoch = 0; epoch < s.options.epochs && !report.stopped_on_kl; ++epoch)
    for (const update_part& part : parts) {
      const auto end = s.update(groups, part, columns, where, stop, report);
      if (end == state::update_end::stopped)
        return refuse(step_report::outcome::stopped, report.reason);
      if (end == state::update_end::not_finite)
        return refuse(step_report::outcome::not_finite, report.reason);
      report.stopped_on_kl = end == state::update_end::far;
      if (report.stopped_on_kl)
        break;
    }
  report.loss /= static_cast<double>(std::max<std::int64_t>(report.updates, 1));
  if (s.adapts() && report.answers > 0)
    s.options.loss.kl_coefficient = algorithms::next_kl_coefficient(
        s.options.loss.kl_coefficient, report.seen.mean_reference_kl(), report.answers, s.options.kl_control);
  report.total_s = whole.lap();
  return report;
}

void learner::mix(std::vector<training_group> texts, double coefficient) {
  if (state_->row.on == algorithms::head::score)
    throw std::invalid_argument("plain text mixed in: a score head has no loss of text, want an algorithm of a language model");
  state_->texts = std::move(texts);
  state_->text_coefficient = coefficient;
}

const model::weights& learner::parameters() const {
  state& s = *state_;
  if (!s.adapter)
    return s.decoder.parameters();
  if (s.merged_at != s.optimizer.steps()) {
    s.merged = model::merged(s.decoder.parameters(), *s.adapter);
    s.merged_at = s.optimizer.steps();
  }
  return s.merged;
}

model::weights learner::version_parameters() const {
  const state& s = *state_;
  if (s.start.empty())
    return parameters();
  if (!s.adapter)
    return s.start;
  model::adapter then = *s.adapter;
  then.parameters = s.start;
  return model::merged(s.decoder.parameters(), then);
}

const model::adapter* learner::adapter() const { return state_->adapter ? &*state_->adapter : nullptr; }

std::int64_t learner::steps() const { return state_->optimizer.steps(); }

double learner::kl_coefficient() const { return state_->options.loss.kl_coefficient; }

void learner::save_state(const std::filesystem::path& folder) const {
  save_optimizer(state_->optimizer, folder);
  if (!state_->start.empty())
    model::write_safetensors(start_file(folder), state_->start, model::saved_dtype::float32, {});
  if (state_->adapts())
    std::ofstream(coefficient_file(folder)) << std::hexfloat << kl_coefficient() << '\n';
}

void learner::load_state(const std::filesystem::path& folder) {
  load_optimizer(state_->optimizer, folder);
  state_->merged_at = -1;
  state_->start.clear();
  if (std::filesystem::exists(start_file(folder)))
    state_->start = state_->start_of(folder);
  if (!state_->adapts())
    return;
  std::string word;
  std::ifstream(coefficient_file(folder)) >> word;
  const double coefficient = std::strtod(word.c_str(), nullptr); // streams do not read hexadecimal floats back
  if (word.empty() || !(coefficient >= 0))
    throw input_error(coefficient_file(folder).string() + ": missing or damaged, want the adapted KL coefficient");
  state_->options.loss.kl_coefficient = coefficient;
}

} // namespace millrace::train
