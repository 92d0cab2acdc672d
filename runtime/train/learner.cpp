#include "runtime/train/learner.hpp"

#include "algorithms/algorithm.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/model/token_logprob.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/train/micro_batches.hpp"
#include "runtime/train/optimizer_state.hpp"
#include "runtime/train/step_columns.hpp"
#include "runtime/train/stopwatch.hpp"
#include "runtime/train/trainable.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
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
}

} // namespace

struct learner::state {
  learner_options options;
  const algorithms::algorithm& row;
  algorithms::option_values values;
  at::Device device;
  model::decoder decoder;
  adamw optimizer;

  state(model::model_config config, const model::weights& parameters, learner_options o)
      : options(std::move(o)), row(row_named(options.algorithm)), values(row.options, options.algorithm_options),
        device(device_named(options.device)), decoder(std::move(config), trainable(parameters, device)),
        optimizer(decoder.parameters(), options.optimizer) {
    check(options);
  }

  /// Runs one micro-batch and adds its gradients. @returns its share of the loss; not finite: no gradients were added
  double accumulate(std::span<const training_group> groups, const micro_batch& batch, const step_batch& step,
                    const at::Tensor& advantages, std::uint32_t version, step_report& report) {
    stopwatch watch;
    const model::packed_sequences packed = pack_part(groups, batch);
    const auto column = [&](const at::Tensor& whole) {
      return whole.defined() ? whole.narrow(0, batch.first_token, batch.tokens).to(device) : at::Tensor();
    };
    const auto part = [&](const at::Tensor& whole) { return whole.narrow(0, batch.first_answer, batch.answers).to(device); };
    model::training_operations ops(packed.groups);
    const at::Tensor hidden = decoder.hidden(ops, packed.tokens.to(device), packed.positions.to(device));
    const auto [logprob, entropy] =
        model::token_logprob(hidden, decoder.head(), packed.rows.to(device), packed.targets.to(device), options.temperature);

    // One update per batch: the policy at the start of the step is the current one, and no further forward is needed.
    const algorithms::answer_columns answers{logprob,
                                             logprob.detach(),
                                             column(step.columns.behaviour_logprob),
                                             column(step.columns.ref_logprob),
                                             column(advantages).to(at::kFloat),
                                             part(step.columns.length),
                                             part(step.columns.reward),
                                             part(step.columns.group),
                                             part(step.group_tokens),
                                             {},
                                             {}};
    algorithms::diagnostics seen;
    const at::Tensor loss = algorithms::policy_loss(row, values, options.loss, answers, step.totals, seen);
    seen.entropy = entropy.sum(at::kDouble).item<double>();
    report.seen += seen;
    const at::Tensor fresh = column(step.version).eq(static_cast<std::int64_t>(version));
    const at::Tensor mismatch = (answers.old_logprob - answers.behaviour_logprob).abs().masked_select(fresh);
    if (mismatch.numel() > 0)
      report.logprob_mismatch = std::max(report.logprob_mismatch, mismatch.max().item<double>());
    const double value = loss.item<double>();
    report.forward_s += watch.lap();
    if (std::isfinite(value)) {
      loss.backward();
      report.backward_s += watch.lap();
    }
    return value;
  }
};

learner::learner(model::model_config config, const model::weights& parameters, learner_options options)
    : state_(std::make_unique<state>(std::move(config), parameters, std::move(options))) {}

learner::~learner() = default;
learner::learner(learner&&) noexcept = default;
learner& learner::operator=(learner&&) noexcept = default;

step_report learner::step(std::span<const training_group> groups, std::uint32_t version, std::stop_token stop) {
  state& s = *state_;
  if (s.options.threads > 0 && at::get_num_threads() != s.options.threads)
    at::set_num_threads(s.options.threads);
  stopwatch whole;
  const step_batch batch = gather_columns(groups, s.decoder.config().vocab_size);
  step_report report = describe(groups, batch, version);
  const at::Tensor advantages = s.row.advantages(batch.columns, s.values);

  const auto refuse = [&](step_report::outcome result, std::string reason) {
    report.result = result;
    report.reason = std::move(reason);
    report.total_s = whole.lap();
    return report;
  };
  clear_gradients(s.decoder.parameters());
  for (const micro_batch& part : cut_micro_batches(groups, s.options.micro_batch_tokens)) {
    if (stop.stop_requested())
      return refuse(step_report::outcome::stopped, "stopped after " + std::to_string(report.micro_batches) + " micro-batches");
    if (part.tokens == 0)
      continue;
    const double loss = s.accumulate(groups, part, batch, advantages, version, report);
    if (!std::isfinite(loss)) {
      for (const auto& p : part.parts)
        report.culprits.push_back(groups[p.group].id);
      return refuse(step_report::outcome::not_finite, "the loss is not finite");
    }
    report.loss += loss;
    report.fed_tokens += part.fed_tokens;
    ++report.micro_batches;
  }

  stopwatch update;
  report.gradient_norm = s.optimizer.gradient_norm();
  if (!std::isfinite(report.gradient_norm)) {
    for (const auto& group : groups)
      report.culprits.push_back(group.id);
    return refuse(step_report::outcome::not_finite, "the gradient is not finite");
  }
  if (stop.stop_requested())
    return refuse(step_report::outcome::stopped, "stopped before the update");
  const double limit = s.options.optimizer.clip_norm;
  report.learning_rate = s.optimizer.step(limit > 0 && report.gradient_norm > limit ? limit / report.gradient_norm : 1);
  report.optimizer_s = update.lap();
  report.total_s = whole.lap();
  return report;
}

const model::weights& learner::parameters() const { return state_->decoder.parameters(); }

std::int64_t learner::steps() const { return state_->optimizer.steps(); }

void learner::save_state(const std::filesystem::path& folder) const { save_optimizer(state_->optimizer, folder); }

void learner::load_state(const std::filesystem::path& folder) { load_optimizer(state_->optimizer, folder); }

} // namespace millrace::train
