#include "runtime/train/learner.hpp"

#include "runtime/formats/durable_write.hpp"
#include "runtime/formats/safetensors.hpp"
#include "runtime/model/computing_threads.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/weights_file.hpp"
#include "runtime/train/learner_state.hpp"
#include "runtime/train/optimizer.hpp"
#include "runtime/train/trainable.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cstdio>
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
  if (o.micro_batches_at_once < 1)
    throw std::invalid_argument("micro_batches_at_once: " + std::to_string(o.micro_batches_at_once) + ", want >= 1");
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

/// @param base fp32, or bfloat16 where its numbers are
model::weights merged_in_float(const model::weights& base, const model::adapter& a) {
  model::weights out;
  model::merge(base, a, [&](const std::string& name, const at::Tensor& now) {
    out.push_back({name, model::widened(now)});
  });
  return out;
}

/// Where the weights of the start of the step under way are kept.
std::filesystem::path start_file(const std::filesystem::path& folder) {
  return folder / "step_start.safetensors";
}

/// Where an adapted coefficient is kept, beside the optimizer.
std::filesystem::path coefficient_file(const std::filesystem::path& folder) {
  return folder / "kl_coefficient";
}

/// Every bit of a number, in words that `strtod` reads back.
std::string in_hexadecimal(double number) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%a", number);
  return text.data();
}

} // namespace

learner::state::state(model::model_config config, const model::weights& parameters, learner_options given)
    : options(std::move(given)), row(row_named(options.algorithm)), values(row.options, options.algorithm_options),
      device(device_named(options.device)), adapter(trainable_adapter(options.adapter, device)),
      held(adapter ? hold_whole(adapter->parameters, options.seat.place, half, passes.count)
                   : hold(parameters, device, options.seat.place, half, passes.count)),
      decoder(std::move(config), adapter ? frozen(parameters, device, half) : held->leaves()),
      optimizer(trained(), options.optimizer, held->updates()),
      bound(options.activations, options.micro_batch_tokens, passes.count),
      ranks(
          options.seat, *held, optimizer,
          [this](const collective::parcel& task, std::size_t pass) { return compute(task, pass); }, passes) {
  check(options);
  for (int pass = 1; pass < passes.count; ++pass) {
    const auto& leaves = held->leaves_of(static_cast<std::size_t>(pass));
    auto& made = beside.emplace_back(decoder.config(), adapter ? decoder.parameters() : leaves);
    if (!adapter)
      continue;
    auto own = *adapter;
    own.parameters = leaves;
    model::adapt(made, own);
  }
  if (adapter)
    model::adapt(decoder, *adapter);
  if (options.kept) {
    if (!shares_groups(options))
      throw std::invalid_argument("algorithm '" + options.algorithm
                                  + "' with these options: ranks share out its groups");
    ranks.share_groups(pieces.emplace(options.kept));
  }
}

model::weights learner::state::start_of(const std::filesystem::path& folder) const {
  const formats::safetensors_file file(start_file(folder));
  model::weights out;
  for (const auto& parameter : trained()) {
    const auto* stored = file.find(parameter.name);
    at::Tensor read = stored ? model::to_float32(*stored) : at::Tensor();
    if (!read.defined() || read.sizes() != parameter.tensor.sizes())
      throw input_error(start_file(folder).string() + ": no tensor '" + parameter.name + "' of this model's shape");
    out.push_back({parameter.name, read.to(device)});
  }
  return out;
}

bool shares_groups(const learner_options& options) {
  const auto& row = row_named(options.algorithm);
  const algorithms::hyperparameter_values values(row.options, options.algorithm_options);
  const bool by_token =
      row.returns || row.wants_old_logprob || std::ranges::any_of(row.options, [&](const auto& option) {
        return option.name == "kl_in_reward" && values.get(option.name) != 0;
      });
  const bool several = options.updates_per_batch * options.epochs > 1;
  return !by_token && !algorithms::needs_whole_step(options.loss)
         && !(several && options.loss.against == algorithms::proximal::recomputed);
}

bool makes_returns(const std::string& algorithm) {
  const auto* row = algorithms::find(algorithm);
  return row && row->returns && row->wants_old_logprob;
}

learner::learner(model::model_config config, const model::weights& parameters, learner_options options)
    : state_(std::make_unique<state>(std::move(config), parameters, std::move(options))) {
}

learner::~learner() = default;
learner::learner(learner&&) noexcept = default;
learner& learner::operator=(learner&&) noexcept = default;

step_report learner::step(std::span<const training_group> given, std::uint32_t version, std::stop_token stop,
                          step_part where) {
  state& s = *state_;
  if (where.begins)
    s.ranks.drop_start();
  else if (!s.held->keeps_start())
    throw std::logic_error("a part of a step that has not begun");
  if (where.begins && !where.ends)
    s.ranks.keep_start();
  auto report = s.train(given, version, stop, where);
  s.held->rest();
  if (where.ends && report.result != step_report::outcome::stopped)
    end_step();
  return report;
}

void learner::follow() {
  model::use_computing_threads(state_->options.threads);
  state_->ranks.follow();
}

void learner::end_step() {
  state_->ranks.drop_start();
}

void learner::mix(std::vector<training_group> texts, double coefficient) {
  if (state_->row.on == algorithms::head::score)
    throw std::invalid_argument(
        "plain text mixed in: a score head has no loss of text, want an algorithm of a language model");
  state_->texts = std::move(texts);
  state_->text_coefficient = coefficient;
}

model::weights learner::parameters() const {
  state& s = *state_;
  if (!s.adapter)
    return s.ranks.parameters();
  if (s.merged_at != s.optimizer.steps()) {
    s.merged = merged_in_float(s.decoder.parameters(), *s.adapter);
    s.merged_at = s.optimizer.steps();
  }
  return s.merged;
}

std::shared_future<std::string> learner::begin_to_save(const std::filesystem::path& folder,
                                                       const std::filesystem::path& weights) const {
  std::vector<team::file> files{{team::written::moments, folder}};
  if (state_->held->keeps_start())
    files.push_back({team::written::start, start_file(folder)});
  if (!weights.empty())
    files.push_back({team::written::parameters, weights});
  state_->bound.save(folder);
  if (state_->adapts())
    formats::write_new_file(coefficient_file(folder), in_hexadecimal(kl_coefficient()) + '\n');
  return state_->ranks.begin_to_write(std::move(files));
}

void learner::end_saving() const {
  state_->ranks.end_writing();
}

bool learner::in_shares() const {
  return state_->held->in_shares();
}

model::weights learner::version_share() const {
  return state_->held->own(true);
}

const model::weights& learner::trained() const {
  return state_->trained();
}

std::vector<parameter_piece> learner::pieces(int rank) const {
  return state_->held->pieces(rank);
}

void learner::on_errand(team::errand how) {
  state_->ranks.on_errand(std::move(how));
}

std::vector<collective::parcel> learner::send_on_errand(const collective::parcel& order) const {
  return state_->ranks.send_on_errand(order);
}

model::weights learner::version_parameters() const {
  state& s = *state_;
  if (!s.held->keeps_start())
    return parameters();
  if (!s.adapter)
    return s.ranks.parameters(true);
  return merged_in_float(s.decoder.parameters(), version_adapter().value());
}

std::shared_ptr<const model::weights> learner::lend_version() const {
  state& s = *state_;
  if (s.adapter || s.held->keeps_start()) // no memory that an update changes
    return std::make_shared<const model::weights>(version_parameters());
  return s.held->lend();
}

std::optional<model::adapter> learner::version_adapter() const {
  state& s = *state_;
  auto then = s.adapter;
  if (then && s.held->keeps_start())
    then->parameters = s.ranks.parameters(true);
  return then;
}

const model::adapter* learner::adapter() const {
  return state_->adapter ? &*state_->adapter : nullptr;
}

std::uint64_t learner::trained_numbers() const {
  return state_->held->numbers();
}

std::int64_t learner::steps() const {
  return state_->optimizer.steps();
}

double learner::kl_coefficient() const {
  return state_->options.loss.kl_coefficient;
}

void learner::load_state(const std::filesystem::path& folder) {
  load_optimizer(state_->optimizer, folder);
  state_->bound.load(folder);
  state_->merged_at = -1;
  state_->held->drop_start(); // each rank reads the folder for itself
  if (std::filesystem::exists(start_file(folder)))
    state_->held->set_start(state_->start_of(folder));
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
