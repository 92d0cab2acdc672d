#include "algorithms/group_statistics.hpp"
#include "runtime/model/computing_threads.hpp"
#include "runtime/model/token_logprob.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/train/answer_scores.hpp"
#include "runtime/train/learner_state.hpp"
#include "runtime/train/stopwatch.hpp"
#include "runtime/train/taught_part.hpp"
#include "runtime/train/trainable.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace millrace::train {
namespace {

using outcome = step_report::outcome;

void refuse(step_report& report, outcome result, std::string reason) {
  report.result = result;
  report.reason = std::move(reason);
}

/// Whether the step's report has log-probabilities of a micro-batch.
bool is_told(const micro_batch& batch) {
  return batch.first_token < static_cast<std::int64_t>(step_report::most_policy_logprobs);
}

/// @param places of the numbers, ascending   @returns the numbers at their places, NaN at others
std::vector<float> spread(const std::vector<float>& numbers, const at::Tensor& places) {
  std::vector<float> all;
  const auto* at = places.const_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    all.resize(static_cast<std::size_t>(at[i]), std::numeric_limits<float>::quiet_NaN());
    all.push_back(numbers[i]);
  }
  return all;
}

} // namespace

// -- one micro-batch -------------------------------------------------------------------------------

learner::state::outputs learner::state::forward(const micro_batch_task& task, std::size_t pass) const {
  if (row.on == algorithms::head::score) {
    const at::Tensor zeros = at::zeros({task.batch.tokens}, at::TensorOptions(device).dtype(at::kFloat));
    auto [score, fed] =
        answer_scores(decoder_of(pass), task.groups, task.batch, task.activations, held->blocks(), arithmetic);
    return {zeros, zeros, std::move(score), std::move(fed)};
  }
  return language_model(task, options.temperature, pass);
}

learner::state::outputs learner::state::language_model(const micro_batch_task& task, double temperature,
                                                       std::size_t pass) const {
  const model::decoder& own = decoder_of(pass);
  const model::packed_sequences packed = pack_part(task.groups, task.batch);
  model::training_operations ops(packed.groups, task.activations, held->blocks(), arithmetic);
  const at::Tensor hidden = own.hidden(ops, packed.tokens.to(device), packed.positions.to(device));
  const auto [logprob, entropy] = model::token_logprob(hidden, own.head(), packed.rows.to(device),
                                                       packed.targets.to(device), temperature, arithmetic);
  return {logprob, entropy, {}, packed.tokens};
}

algorithms::answer_columns learner::state::columns_of(const micro_batch_task& task, const outputs& out) const {
  algorithms::answer_columns answers = slice(task.answers, task.batch, device);
  answers.logprob = out.logprob;
  answers.score = out.score;
  if (!answers.old_logprob.defined())
    answers.old_logprob = out.logprob.detach();
  if (options.loss.entropy_coefficient > 0)
    answers.entropy = out.entropy;
  return answers;
}

/// What the model thinks of each answer where answers are compared: its score, or by how much more likely it is than
/// the reference has it. Undefined elsewhere.
at::Tensor learner::state::opinion_of(const algorithms::answer_columns& answers) const {
  if (answers.score.defined())
    return answers.score.detach();
  if (options.sampled || !answers.ref_logprob.defined())
    return {};
  return algorithms::sum_by_answer(answers.logprob.detach() - answers.ref_logprob, answers.length);
}

/// What a step's report says of the weights before the step's first update.
void learner::state::observe(const micro_batch_task& task, const algorithms::answer_columns& answers,
                             micro_batch_result& result) const {
  if (!task.first_update)
    return;
  if (const at::Tensor opinion = opinion_of(answers); opinion.defined()) {
    const ranked_pairs ranked = rank_pairs(opinion, answers.reward, answers.group);
    result.pairs = ranked.pairs;
    result.pairs_right = ranked.right;
  }
  if (!options.sampled)
    return;
  if (task.tells_logprob)
    result.logprob = answers.old_logprob.to(at::kCPU, at::kFloat).contiguous();
  if (!task.from_start)
    return;
  const at::Tensor fresh = answers.version.eq(answers.policy_version);
  const at::Tensor mismatch = (answers.old_logprob - answers.behaviour_logprob).abs().masked_select(fresh);
  result.mismatch_tokens = mismatch.numel();
  if (result.mismatch_tokens == 0)
    return;
  result.logprob_mismatch = mismatch.max().item<double>();
  result.mismatch_sum = mismatch.sum(at::kDouble).item<double>();
}

/// One micro-batch, on whichever rank or in whichever pass it falls to.
collective::parcel learner::state::compute(const collective::parcel& given, std::size_t pass) {
  micro_batch_task task = unpacked_task(given);
  if (!task.pieces.empty())
    task = out_of_pieces(std::move(task), *pieces, decoder.config().vocab_size);
  if (task.what == micro_batch_task::kind::policy)
    return packed(policy_gradient(task, pass));
  if (task.what == micro_batch_task::kind::text)
    return packed(text_gradient(task, pass));
  const at::NoGradGuard no_grad;
  micro_batch_result result;
  result.logprob = forward(task, pass).logprob.to(at::kCPU);
  return packed(result);
}

/// Adds the gradients of a micro-batch. A share of the loss that is not finite adds none.
micro_batch_result learner::state::policy_gradient(const micro_batch_task& task, std::size_t pass) {
  stopwatch watch;
  micro_batch_result result;
  const outputs out = forward(task, pass);
  const algorithms::answer_columns answers = columns_of(task, out);
  auto wanted = options.loss;
  wanted.kl_coefficient = task.coefficient;
  const at::Tensor loss = algorithms::policy_loss(row, values, wanted, answers, task.totals, result.seen);
  algorithms::observe_entropy(answers, out.entropy, result.seen);
  observe(task, answers, result);
  result.loss = loss.item<double>();
  result.forward_s = watch.lap();
  if (held->goes_back(std::isfinite(result.loss), out.fed, pass)) {
    loss.backward();
    result.backward_s = watch.lap();
  }
  return result;
}

/// Adds the gradients of a micro-batch of plain text. @returns its share of the mean loss, not weighted
micro_batch_result learner::state::text_gradient(const micro_batch_task& task, std::size_t pass) {
  micro_batch_result result;
  const outputs out = language_model(task, 1, pass);
  const at::Tensor share = out.logprob.sum() / (-static_cast<double>(task.totals.tokens));
  result.loss = share.item<double>();
  if (held->goes_back(std::isfinite(result.loss), out.fed, pass))
    (share * task.coefficient).backward();
  return result;
}

/// Adds the gradients of the texts' share of the loss. @returns their mean loss, not weighted
double learner::state::add_text_gradients(const step_state& step) {
  auto rule = rule_of_next_pass(step);
  rule.whole = algorithms::unit::answer;
  const auto batches = cut_micro_batches(texts, rule);
  std::int64_t tokens = 0;
  for (const auto& batch : batches)
    tokens += batch.tokens;
  auto tries = tried(step, texts);
  std::vector<collective::parcel> tasks;
  for (const std::size_t i : by_cost(batches)) {
    tries.batches.push_back(&batches[i]);
    auto task = task_of(micro_batch_task::kind::text, texts, batches[i]);
    task.totals.tokens = tokens;
    task.coefficient = text_coefficient;
    task.activations = bound.activations();
    tasks.push_back(packed(task));
  }
  const auto done = bound.within(tries, [&] { return ranks.add_gradients(tasks, [] { return false; }); });
  double sum = 0;
  for (const auto& result : done.results)
    sum += unpacked_result(result).loss;
  return sum;
}

// -- memory that runs out --------------------------------------------------------------------------

/// One pass over micro-batches, again and again until it has the memory that it takes and no rank is lost.
template <class Pass>
auto learner::state::pass(step_state& step, Pass once) {
  return bound.repeat([&] {
    for (update_part& part : step.parts)
      cut_again(part, step.groups, rule_of_next_pass(step));
    ranks.compute_at_once(bound.at_once());
    auto result = until_none_is_lost(once);
    step.cuts.push_back(cut_of_next_pass(step));
    return result;
  });
}

// -- one optimizer update --------------------------------------------------------------------------

micro_batch_task learner::state::policy_task(const step_state& step, const update_part& part,
                                             const micro_batch& batch) const {
  auto task = task_of(micro_batch_task::kind::policy, step.groups, batch);
  task.answers = slice(step.batch.answers, batch, at::kCPU);
  task.totals = part.totals;
  task.coefficient = options.loss.kl_coefficient;
  task.activations = bound.activations();
  task.first_update = step.report.updates == 0;
  // Without a pass of its own, the old policy is the current one: of the step's start only in the step's first part.
  task.from_start = step.batch.answers.old_logprob.defined() || step.where.begins;
  task.tells_logprob = is_told(batch);
  return pieces ? in_pieces(std::move(task), step.groups, batch, step.where.mask, step.where.train_from) : task;
}

/// Where ranks share out groups: each gets what its micro-batches are made of. @returns whose each is
std::vector<int> learner::state::hand_round(const step_state& step, const update_part& part,
                                            std::span<const std::size_t> order) {
  if (!pieces)
    return {};
  std::vector<std::vector<piece_name>> of_tasks;
  for (const std::size_t i : order)
    of_tasks.push_back(pieces_of(step.groups, part.micro_batches[i]));
  return ranks.hand_round(of_tasks);
}

/// Enters what one micro-batch saw into the step's report. @returns false where its loss is not finite
bool learner::state::take_in(step_state& step, const micro_batch& batch, const micro_batch_result& result,
                             int at_once) const {
  step_report& report = step.report;
  report.pairs += result.pairs;
  report.pairs_right += result.pairs_right;
  report.logprob_mismatch = std::max(report.logprob_mismatch, result.logprob_mismatch);
  report.mismatch_sum += result.mismatch_sum;
  report.mismatch_tokens += result.mismatch_tokens;
  report.forward_s += result.forward_s / at_once;
  report.backward_s += result.backward_s / at_once;
  if (result.logprob.defined() && is_told(batch)) {
    const auto* found = result.logprob.const_data_ptr<float>();
    const auto end = static_cast<std::size_t>(batch.first_token) + static_cast<std::size_t>(result.logprob.numel());
    report.policy_logprob.resize(std::max(report.policy_logprob.size(), end));
    std::copy(found, found + result.logprob.numel(), report.policy_logprob.begin() + batch.first_token);
  }
  if (!std::isfinite(result.loss)) {
    for (const auto& p : batch.parts)
      report.culprits.push_back(step.groups[p.group].id);
    report.reason = "the loss is not finite";
    report.policy_logprob.clear(); // of some tokens nothing is known
    return false;
  }
  report.fed_tokens += batch.fed_tokens;
  ++report.micro_batches;
  return true;
}

/// Anything but `applied` leaves parameters and optimizer as they were. If a rank is lost, the update begins again with
/// the ranks that there are then; if memory runs out, with less at a time.
learner::state::update_end learner::state::update(step_state& step, update_part& part) {
  const auto before = step.report;
  return pass(step, [&] {
    step.report = before;
    return update_once(step, part);
  });
}

learner::state::update_end learner::state::update_once(step_state& step, const update_part& part) {
  step_report& report = step.report;
  const auto stopped = [&] { return report.updates == 0 && step.stop.stop_requested(); };
  const auto order = by_cost(part.micro_batches);
  auto tries = tried(step, step.groups);
  std::vector<collective::parcel> tasks;
  for (const std::size_t i : order) {
    tries.batches.push_back(&part.micro_batches[i]);
    tasks.push_back(packed(policy_task(step, part, part.micro_batches[i])));
  }
  const auto placed = hand_round(step, part, order);
  const auto done = bound.within(tries, [&] { return ranks.sum_gradients(tasks, stopped, placed); });
  algorithms::diagnostics seen;
  double loss = 0;
  for (std::size_t i = 0; i < done.results.size(); ++i) {
    const auto result = unpacked_result(done.results[i]);
    if (!take_in(step, part.micro_batches[order[i]], result, done.at_once))
      return update_end::not_finite;
    loss += result.loss;
    seen += result.seen;
  }
  if (done.stopped) {
    report.reason = "stopped after " + std::to_string(report.micro_batches) + " micro-batches";
    return update_end::stopped;
  }
  report.seen += seen;
  if (options.target_kl > 0 && (report.updates > 0 || !step.where.begins) && seen.proximal_kl() > options.target_kl)
    return update_end::far;
  stopwatch watch;
  if (!texts.empty()) {
    report.text_loss = add_text_gradients(step);
    loss += text_coefficient * report.text_loss;
    report.backward_s += watch.lap();
  }
  const double norm = std::isfinite(loss) ? ranks.gradient_norm() : loss;
  if (!std::isfinite(norm)) {
    for (const auto& batch : part.micro_batches)
      for (const auto& p : batch.parts)
        if (report.culprits.empty() || report.culprits.back() != step.groups[p.group].id)
          report.culprits.push_back(step.groups[p.group].id);
    report.reason = "the gradient is not finite";
    return update_end::not_finite;
  }
  if (stopped()) {
    report.reason = "stopped before the update";
    return update_end::stopped;
  }
  const double limit = options.optimizer.clip_norm;
  report.gradient_norm = norm;
  report.learning_rate = ranks.apply(limit > 0 && norm > limit ? limit / norm : 1, step.batch.answers.policy_version);
  report.loss += loss;
  ++report.updates;
  report.optimizer_s += watch.lap();
  return update_end::applied;
}

// -- one step --------------------------------------------------------------------------------------

/// Whether `old_logprob` takes a pass of its own; else it is the current policy of the step's only update.
bool learner::state::wants_old_pass(const step_state& step) const {
  const bool several = step.parts.size() * static_cast<std::size_t>(options.epochs) > 1 || !step.where.begins;
  return row.wants_old_logprob || algorithms::needs_whole_step(options.loss)
         || (options.loss.against == algorithms::proximal::recomputed && several);
}

/// Log-probabilities at the start of the step. @returns [N] on the CPU; undefined where `stop` ended it
at::Tensor learner::state::old_logprobs(const step_state& step) {
  auto tries = tried(step, step.groups);
  tries.goes_back = false;
  auto& batches = tries.batches;
  std::vector<collective::parcel> tasks;
  std::int64_t tokens = 0;
  for (const auto& part : step.parts)
    for (const std::size_t i : by_cost(part.micro_batches)) {
      batches.push_back(&part.micro_batches[i]);
      tasks.push_back(packed(task_of(micro_batch_task::kind::old_logprob, step.groups, *batches.back())));
      tokens += batches.back()->tokens;
    }
  const auto stop = [&] { return step.stop.stop_requested(); };
  const auto done = bound.within(tries, [&] {
    return step.where.begins ? ranks.compute_all(tasks, stop) : ranks.compute_from_start(tasks, stop);
  });
  if (done.stopped)
    return {};
  at::Tensor out = at::empty({tokens}, at::kFloat);
  for (std::size_t i = 0; i < done.results.size(); ++i)
    out.narrow(0, batches[i]->first_token, batches[i]->tokens).copy_(unpacked_result(done.results[i]).logprob);
  return out;
}

/// @returns false where `stop` ended it
bool learner::state::take_old_logprobs(step_state& step) {
  stopwatch watch;
  const at::Tensor found = pass(step, [&] { return old_logprobs(step); });
  step.report.forward_s += watch.lap();
  step.batch.columns.old_logprob = found;
  step.batch.answers.logprob = step.batch.answers.old_logprob = found;
  return found.defined();
}

void learner::state::take_returns(step_state& step) const {
  const at::Tensor returns = row.returns(step.batch.columns, values).to(at::kFloat).contiguous();
  step.report.returns.assign(returns.data_ptr<float>(), returns.data_ptr<float>() + returns.numel());
}

/// @returns false where they are not finite
bool learner::state::take_advantages(step_state& step) const {
  const auto& turns = step.batch.turns;
  const at::Tensor advantages = turns.answer.defined() ? algorithms::turn_advantages(row, step.batch.columns, turns,
                                                                                     values, options.turn_discount)
                                                       : row.advantages(step.batch.columns, values);
  if (!advantages.isfinite().all().item<bool>())
    return false;
  auto& answers = step.batch.answers;
  answers.advantage = advantages.to(at::kFloat);
  if (algorithms::needs_whole_step(options.loss))
    answers.step_weight = algorithms::step_weights(options.loss, answers);
  return true;
}

/// Without a part of the loss that the advantage is no factor of, groups of advantage 0 give no gradient.
void learner::state::leave_flat_groups_out(step_state& step) const {
  const auto& loss = options.loss;
  if (!options.skip_flat_groups || !row.by_advantage || loss.kl_coefficient > 0 || loss.entropy_coefficient > 0
      || options.target_kl > 0 || adapts())
    return;
  const auto whole = step.batch.answers.advantage.numel();
  auto taught = taught_part_of(step.groups, step.batch.answers, step.parts, rule_of_next_pass(step));
  if (!taught)
    return;
  step.taught_groups = std::move(taught->groups);
  step.groups = step.taught_groups;
  step.batch.answers = std::move(taught->answers);
  step.parts = std::move(taught->parts);
  step.taught_tokens = std::move(taught->tokens);
  step.report.flat_tokens_left_out = whole - step.taught_tokens.numel();
}

/// Every update of every epoch, until one ends the step.
void learner::state::update_all(step_state& step) {
  step_report& report = step.report;
  for (std::int64_t epoch = 0; epoch < options.epochs; ++epoch)
    for (update_part& part : step.parts)
      switch (update(step, part)) {
      case update_end::applied:
        break;
      case update_end::far:
        report.stopped_on_kl = true;
        return;
      case update_end::not_finite:
        report.result = outcome::not_finite;
        return;
      case update_end::stopped:
        report.result = outcome::stopped;
        return;
      }
}

void learner::state::train_groups(step_state& step, std::uint32_t version) {
  step_report& report = step.report;
  step.batch = gather_columns(step.groups, decoder.config().vocab_size);
  step.batch.columns.clamps = options.loss.clamps;
  step.batch.answers.policy_version = version;
  step.parts = cut_updates(step.groups, options.updates_per_batch, rule_of_next_pass(step));
  auto unusable = std::move(report.unusable);
  report = describe(step.groups, step.batch, version);
  report.unusable = std::move(unusable);
  report.kl_coefficient = options.loss.kl_coefficient;
  const bool targets = makes_returns(options.algorithm);
  if (!step.where.moves && !targets)
    return;
  if (wants_old_pass(step) && !take_old_logprobs(step))
    return refuse(report, outcome::stopped, "stopped before the first update");
  if (targets)
    take_returns(step);
  if (!step.where.moves)
    return;
  if (!take_advantages(step)) {
    for (const auto& group : step.groups)
      report.culprits.push_back(group.id);
    return refuse(report, outcome::not_finite, "the advantages are not finite");
  }
  leave_flat_groups_out(step);
  update_all(step);
  if (step.taught_tokens.defined())
    report.policy_logprob = spread(report.policy_logprob, step.taught_tokens);
  if (report.result != outcome::applied)
    return;
  report.loss /= static_cast<double>(std::max<std::int64_t>(report.updates, 1));
  if (adapts() && report.answers > 0)
    options.loss.kl_coefficient = algorithms::next_kl_coefficient(
        options.loss.kl_coefficient, report.seen.mean_reference_kl(), report.answers, options.kl_control);
}

step_report learner::state::train(std::span<const training_group> given, std::uint32_t version,
                                  const std::stop_token& stop, step_part where) {
  model::use_computing_threads(options.threads);
  stopwatch whole;
  const finite_groups finite(given);
  step_state step{.groups = finite.groups(),
                  .batch = {},
                  .parts = {},
                  .taught_groups = {},
                  .taught_tokens = {},
                  .where = where,
                  .stop = stop,
                  .report = {},
                  .cuts = {}};
  step.report.unusable = finite.left_out();
  if (step.groups.empty() && !given.empty()) {
    step.report.culprits = step.report.unusable;
    refuse(step.report, outcome::not_finite, "no group of the step has finite rewards and log-probabilities");
  } else {
    train_groups(step, version);
  }
  if (std::ranges::any_of(step.cuts, [&](auto cut) { return cut != options.micro_batch_tokens; }))
    step.report.cuts = std::move(step.cuts);
  if (step.report.result != outcome::stopped) {
    auto lesson = bound.take_lesson();
    step.report.memory_ran_out = lesson.times;
    step.report.lesson = std::move(lesson.line);
  }
  step.report.total_s = whole.lap();
  return std::move(step.report);
}

} // namespace millrace::train
