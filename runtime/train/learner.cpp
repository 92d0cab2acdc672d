#include "runtime/train/learner.hpp"

#include "algorithms/algorithm.hpp"
#include "runtime/input_error.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/model/safetensors.hpp"
#include "runtime/model/token_logprob.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/train/micro_batches.hpp"
#include "runtime/train/step_columns.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <stdexcept>

namespace millrace::train {
namespace {

constexpr const char* state_file = "optimizer.safetensors";

class stopwatch {
public:
  /// Seconds since the last call, or since this was made.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double passed = std::chrono::duration<double>(now - since_).count();
    since_ = now;
    return passed;
  }

private:
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

/// A program built for CUDA also runs where there is no GPU: hasCUDA() asks the driver for devices.
/// @throws input_error for a device that is not there
at::Device device_named(const std::string& name) {
  const bool usable = at::hasCUDA();
  if (name == "auto")
    return at::Device(usable ? at::kCUDA : at::kCPU);
  const at::Device device(name);
  if (device.is_cuda() && !usable)
#ifdef MILLRACE_CUDA
    throw input_error("run.device: found \"" + name + "\", but no CUDA device answers on this machine; want \"cpu\" or \"auto\"");
#else
    throw input_error("run.device: found \"" + name + "\", but this program was built without MILLRACE_CUDA; want \"cpu\" or \"auto\"");
#endif
  return device;
}

/// Leaves of autograd's graph on `device`, each with a gradient of zeros to add to.
model::weights trainable(const model::weights& parameters, at::Device device) {
  model::weights out;
  for (const auto& [name, tensor] : parameters) {
    at::Tensor leaf = tensor.detach().to(device, at::kFloat, false, true).contiguous().requires_grad_();
    leaf.mutable_grad() = at::zeros_like(leaf, at::TensorOptions().requires_grad(false));
    out.push_back({name, leaf});
  }
  return out;
}

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

model::packed_sequences pack_part(std::span<const training_group> groups, const micro_batch& batch) {
  std::vector<model::prompt_and_answers> views;
  for (const auto& part : batch.parts) {
    const training_group& group = groups[part.group];
    const auto first = group.answers.begin() + static_cast<std::ptrdiff_t>(part.first_answer);
    views.push_back({group.prompt, {first, first + static_cast<std::ptrdiff_t>(part.answers)}});
  }
  return model::pack(views);
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

  void clear_gradients() const {
    for (const auto& parameter : decoder.parameters())
      parameter.tensor.grad().zero_();
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
  s.clear_gradients();
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

void learner::save_state(const std::filesystem::path& folder) const {
  model::write_safetensors(folder / state_file, state_->optimizer.moments(), model::saved_dtype::float32,
                           {{"steps", std::to_string(steps())}});
}

void learner::load_state(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / state_file;
  const model::safetensors_file file(path);
  const auto found = file.metadata().find("steps");
  std::int64_t steps = -1;
  if (found != file.metadata().end())
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), steps);
  if (steps < 0)
    throw input_error(path.string() + ": no number of steps, want a file that this program wrote");
  const model::weights moments = state_->optimizer.moments();
  if (file.tensors().size() != moments.size())
    throw input_error(path.string() + ": " + std::to_string(file.tensors().size()) + " tensors, want " + std::to_string(moments.size()));
  std::vector<at::Tensor> read;
  for (const auto& [name, tensor] : moments) {
    const model::stored_tensor* stored = file.find(name);
    if (!stored)
      throw input_error(path.string() + ": no tensor '" + name + "'");
    read.push_back(model::to_float32(*stored));
    if (read.back().sizes() != tensor.sizes())
      throw input_error(path.string() + ": tensor '" + name + "' is of another shape, want this model's");
  }
  for (std::size_t i = 0; i < moments.size(); ++i)
    moments[i].tensor.copy_(read[i]);
  state_->optimizer.set_steps(steps);
}

} // namespace millrace::train
