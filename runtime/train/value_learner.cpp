#include "runtime/train/value_learner.hpp"

#include "algorithms/algorithm.hpp"
#include "runtime/model/computing_threads.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/train/held_parameters.hpp"
#include "runtime/train/learning_rate.hpp"
#include "runtime/train/memory_shortage.hpp"
#include "runtime/train/micro_batch_task.hpp"
#include "runtime/train/micro_batches.hpp"
#include "runtime/train/optimizer.hpp"
#include "runtime/train/step_columns.hpp"
#include "runtime/train/stopwatch.hpp"
#include "runtime/train/trainable.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <stdexcept>

namespace millrace::train {
namespace {

const algorithms::algorithm& row_with_returns(const std::string& name) {
  const auto* row = algorithms::find(name);
  if (!row || !row->returns)
    throw std::invalid_argument("algorithm '" + name + "': has no returns that a critic could learn");
  return *row;
}

void check(const value_learner_options& o) {
  if (o.micro_batch_tokens < 1)
    throw std::invalid_argument("micro_batch_tokens: " + std::to_string(o.micro_batch_tokens) + ", want >= 1");
  if (o.micro_batches_at_once < 1)
    throw std::invalid_argument("micro_batches_at_once: " + std::to_string(o.micro_batches_at_once) + ", want >= 1");
  if (!(o.value_clip >= 0))
    throw std::invalid_argument("value_clip: " + std::to_string(o.value_clip) + ", want >= 0");
}

} // namespace

value_report& value_report::operator+=(const value_report& next) {
  const auto both = static_cast<double>(seen.tokens + next.seen.tokens);
  const auto mean = [&](double a, double b) {
    return both > 0 ? (a * static_cast<double>(seen.tokens) + b * static_cast<double>(next.seen.tokens)) / both : 0;
  };
  loss = mean(loss, next.loss);
  value_mean = mean(value_mean, next.value_mean);
  return_mean = mean(return_mean, next.return_mean);
  seen += next.seen;
  unusable.insert(unusable.end(), next.unusable.begin(), next.unusable.end());
  gradient_norm = next.gradient_norm;
  learning_rate = next.learning_rate;
  micro_batches += next.micro_batches;
  memory_ran_out += next.memory_ran_out;
  total_s += next.total_s;
  return *this;
}

struct value_learner::state {
  value_learner_options options;
  const algorithms::algorithm& row;
  algorithms::hyperparameter_values values;
  at::Device device;
  model::rounded_weights rounded;
  model::rounded_weights* half = options.computes == precision::bfloat16 ? &rounded : nullptr;
  model::arithmetic arithmetic{options.computes, half};
  model::passes_at_once passes = passes_of(options.micro_batches_at_once, options.threads, device, options.seat.place);
  std::unique_ptr<held_parameters> held;
  model::decoder decoder;
  std::vector<model::decoder> beside; ///< of passes that are computed beside the first, over their leaves
  adamw optimizer;
  memory_bound bound;
  team ranks;
  double scale = 0;                            ///< of the gradient that waits to be applied; 0: there is none
  std::int64_t course = 0;                     ///< where its learning rate stands
  std::shared_ptr<const model::decoder> whole; ///< where the ranks hold shares; nullptr: not needed yet
  std::int64_t whole_at = -1;                  ///< optimizer steps

  state(model::model_config config, const model::weights& parameters, value_learner_options o)
      : options(std::move(o)), row(row_with_returns(options.algorithm)), values(row.options, options.algorithm_options),
        device(device_named(options.device)), held(hold(parameters, device, options.seat.place, half, passes.count)),
        decoder(std::move(config), held->leaves()), optimizer(held->leaves(), options.optimizer, held->updates()),
        bound(options.activations, options.micro_batch_tokens, passes.count),
        ranks(
            options.seat, *held, optimizer,
            [this](const collective::parcel& task, std::size_t pass) { return accumulate(unpacked_task(task), pass); },
            passes) {
    check(options);
    for (int pass = 1; pass < passes.count; ++pass)
      beside.emplace_back(decoder.config(), held->leaves_of(static_cast<std::size_t>(pass)));
    if (!decoder.config().score_head)
      throw std::invalid_argument("a language-model head, want a score head");
  }

  /// The decoder as it is now, whole, which no later update changes.
  std::shared_ptr<const model::decoder> copy() {
    auto parameters = ranks.parameters();
    if (arithmetic.is_half())
      parameters = model::in_precision(parameters, precision::bfloat16);
    else if (!held->in_shares())
      parameters = frozen(parameters, device);
    for (auto& parameter : parameters)
      parameter.tensor = parameter.tensor.to(device);
    return std::make_shared<const model::decoder>(decoder.config(), parameters);
  }

  /// The decoder as it is now, whole. Ranks that hold shares bring it together once an update.
  std::shared_ptr<const model::decoder> scoring_decoder() {
    if (!held->in_shares())
      return {std::shared_ptr<const model::decoder>(), &decoder};
    if (!whole || whole_at != optimizer.steps()) {
      whole = nullptr;
      whole = copy();
      whole_at = optimizer.steps();
    }
    return whole;
  }

  void use_threads() const { model::use_computing_threads(options.threads); }

  /// Runs one micro-batch and adds its gradients, on whichever rank it falls to. A share of the loss that is not finite
  /// adds none. @returns the share and `value_diagnostics`, for `take_in`
  collective::parcel accumulate(const micro_batch_task& task, std::size_t pass) const {
    const model::decoder& own = pass == 0 ? decoder : beside.at(pass - 1);
    const model::packed_sequences packed = pack_part(task.groups, task.batch);
    const auto column = [&](const at::Tensor& given) { return given.to(device, at::kFloat); };
    model::training_operations ops(packed.groups, task.activations, held->blocks(), arithmetic);
    const at::Tensor hidden = own.hidden(ops, packed.tokens.to(device), packed.positions.to(device));
    const at::Tensor value = model::token_scores(hidden, own.head(), packed.rows.to(device), arithmetic);
    algorithms::value_diagnostics seen;
    const at::Tensor losses =
        algorithms::value_loss(value, column(task.value), column(task.returns), options.value_clip, seen);
    const at::Tensor kept = task.answers.trains.defined()
                                ? at::where(task.answers.trains.to(device), losses, at::zeros_like(losses))
                                : losses;
    const at::Tensor loss = kept.sum() / static_cast<double>(task.totals.tokens);
    const double share = loss.item<double>();
    if (held->goes_back(std::isfinite(share), packed.tokens, pass))
      loss.backward();
    return {.words = {seen.tokens, seen.clipped},
            .numbers = {share, seen.squared_error, seen.returns, seen.returns_squared},
            .tensors = {}};
  }

  /// Enters what one micro-batch saw. @returns its share of the loss
  static double take_in(const collective::parcel& result, value_report& report) {
    report.seen += {.tokens = result.words.at(0),
                    .clipped = result.words.at(1),
                    .squared_error = result.numbers.at(1),
                    .returns = result.numbers.at(2),
                    .returns_squared = result.numbers.at(3)};
    return result.numbers.at(0);
  }

  micro_batch_task task_for(std::span<const training_group> groups, const micro_batch& part, const step_batch& step,
                            const at::Tensor& returns) const {
    auto task = task_of(micro_batch_task::kind::value, groups, part);
    const auto column = [&](const at::Tensor& of_step) { return of_step.narrow(0, part.first_token, part.tokens); };
    task.value = column(step.columns.value);
    task.returns = column(returns);
    if (step.answers.trains.defined())
      task.answers.trains = column(step.answers.trains);
    task.totals = step.totals;
    task.activations = bound.activations();
    return task;
  }

  struct summed {
    team::outcome done;
    std::vector<micro_batch> parts; ///< in the order of the tasks
  };

  /// The sum of the gradients of a step's micro-batches, in the memory that there is. @param cut as of `gradient`
  summed sum_gradients(std::span<const training_group> groups, const step_batch& step, const at::Tensor& returns,
                       const std::stop_token& stop, std::optional<std::int64_t> cut) {
    return bound.repeat([&] {
      const std::int64_t tokens = cut.value_or(bound.tokens());
      ranks.compute_at_once(bound.at_once());
      const auto parts = cut_micro_batches(groups, {.budget = tokens > 0 ? tokens : options.micro_batch_tokens,
                                                    .at_once = options.micro_batches_at_once});
      memory_bound::tried tries{.groups = groups, .may_cut = !cut};
      std::vector<collective::parcel> tasks;
      summed sum;
      for (const std::size_t i : by_cost(parts)) {
        tries.batches.push_back(&parts[i]);
        sum.parts.push_back(parts[i]);
        tasks.push_back(packed(task_for(groups, parts[i], step, returns)));
      }
      sum.done = bound.within(tries, [&] {
        return until_none_is_lost([&] { return ranks.sum_gradients(tasks, [&] { return stop.stop_requested(); }); });
      });
      return sum;
    });
  }
};

value_learner::value_learner(model::model_config config, const model::weights& parameters,
                             value_learner_options options)
    : state_(std::make_unique<state>(std::move(config), parameters, std::move(options))) {
}

value_learner::~value_learner() = default;
value_learner::value_learner(value_learner&&) noexcept = default;
value_learner& value_learner::operator=(value_learner&&) noexcept = default;

std::vector<float> value_learner::values(std::span<const std::int32_t> prompt,
                                         std::span<const std::vector<std::int32_t>> answers,
                                         const model::segment_begins& segments) const {
  return values(*state_->scoring_decoder(), prompt, answers, segments);
}

std::vector<float> value_learner::values(const model::decoder& then, std::span<const std::int32_t> prompt,
                                         std::span<const std::vector<std::int32_t>> answers,
                                         const model::segment_begins& segments) const {
  state_->use_threads();
  return model::by_segment(
      [&](auto before, auto behind) {
        return model::answer_values(then, before, behind, state_->options.micro_batch_tokens, state_->arithmetic);
      },
      prompt, answers, segments);
}

std::shared_ptr<const model::decoder> value_learner::snapshot() const {
  return state_->held->in_shares() ? state_->scoring_decoder() : state_->copy();
}

value_report value_learner::gradient(std::span<const training_group> all, std::uint32_t version, std::stop_token stop,
                                     std::span<const float> given, std::optional<std::int64_t> cut) {
  state& s = *state_;
  s.use_threads();
  s.scale = 0;
  s.course = version;
  stopwatch whole;
  value_report report;
  const auto refuse = [&](step_report::outcome result, std::string reason) {
    report.result = result;
    report.reason = std::move(reason);
    report.total_s = whole.lap();
    return report;
  };
  const finite_groups finite(all);
  const auto groups = finite.groups();
  report.unusable = finite.left_out();
  report.learning_rate = learning_rate(s.options.optimizer, version);
  if (groups.empty())
    return refuse(step_report::outcome::not_finite,
                  "no group of which every reward, value and log-probability is finite");
  step_batch batch = gather_columns(groups, s.decoder.config().vocab_size);
  batch.columns.clamps = s.options.clamps;
  if (!batch.columns.value.defined())
    throw std::invalid_argument("column 'value': missing, and a critic cannot learn without what it said");
  if (batch.totals.tokens == 0)
    return refuse(step_report::outcome::applied, "no answer has a token");
  if (!given.empty() && static_cast<std::int64_t>(given.size()) != batch.totals.tokens)
    throw std::invalid_argument("returns of " + std::to_string(given.size()) + " tokens, want "
                                + std::to_string(batch.totals.tokens));
  const at::Tensor returns = given.empty() ? s.row.returns(batch.columns, s.values) : at::tensor(given, at::kFloat);
  report.value_mean = batch.columns.value.mean(at::kDouble).item<double>();
  report.return_mean = returns.mean(at::kDouble).item<double>();

  const auto [done, parts] = s.sum_gradients(groups, batch, returns, stop, cut);
  report.cut = cut.value_or(s.bound.tokens() == s.options.micro_batch_tokens ? 0 : s.bound.tokens());
  for (std::size_t i = 0; i < done.results.size(); ++i) {
    const double loss = state::take_in(done.results[i], report);
    if (!std::isfinite(loss)) {
      for (const auto& p : parts[i].parts)
        report.culprits.push_back(groups[p.group].id);
      return refuse(step_report::outcome::not_finite, "the critic's loss is not finite");
    }
    report.loss += loss;
    ++report.micro_batches;
  }
  if (done.stopped)
    return refuse(step_report::outcome::stopped,
                  "stopped after " + std::to_string(report.micro_batches) + " micro-batches");
  auto lesson = s.bound.take_lesson();
  report.memory_ran_out = lesson.times;
  report.lesson = std::move(lesson.line);
  report.gradient_norm = s.ranks.gradient_norm();
  if (!std::isfinite(report.gradient_norm)) {
    for (const auto& group : groups)
      report.culprits.push_back(group.id);
    return refuse(step_report::outcome::not_finite, "the critic's gradient is not finite");
  }
  const double limit = s.options.optimizer.clip_norm;
  s.scale = limit > 0 && report.gradient_norm > limit ? limit / report.gradient_norm : 1;
  report.total_s = whole.lap();
  return report;
}

void value_learner::apply() {
  state& s = *state_;
  s.use_threads();
  if (const double scale = std::exchange(s.scale, 0); scale > 0)
    s.ranks.apply(scale, s.course);
}

void value_learner::follow() {
  state_->use_threads();
  state_->ranks.follow();
}

model::weights value_learner::parameters() const {
  return state_->ranks.parameters();
}

std::uint64_t value_learner::trained_numbers() const {
  return state_->held->numbers();
}

std::int64_t value_learner::steps() const {
  return state_->optimizer.steps();
}

std::shared_future<std::string> value_learner::begin_to_save(const std::filesystem::path& folder,
                                                             const std::filesystem::path& weights) const {
  state_->bound.save(folder);
  std::vector<team::file> files{{team::written::moments, folder}};
  if (!weights.empty())
    files.push_back({team::written::parameters, weights});
  return state_->ranks.begin_to_write(std::move(files));
}

void value_learner::end_saving() const {
  state_->ranks.end_writing();
}

void value_learner::load_state(const std::filesystem::path& folder) {
  load_optimizer(state_->optimizer, folder);
  state_->bound.load(folder);
}

} // namespace millrace::train
