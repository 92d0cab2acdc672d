#include "algorithms/algorithm.hpp"
#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

#include <vector>

namespace millrace::algorithms {
namespace drpo_row {

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    {.name = "threshold",
     .fallback = 0.5,
     .low = -1e9,
     .high = 1e9,
     .meaning = "an answer with a larger reward than this is positive, any other negative"},
    {.name = "tau",
     .fallback = 10,
     .low = 1e-6,
     .high = 1e6,
     .meaning = "temperature of the soft maximum over negative answers"},
    {.name = "length_weight",
     .fallback = 0.1,
     .low = 1e-6,
     .high = 1e12,
     .meaning = "lambda: small favours short positive answers, infinite weighs them alike (DisCO)"},
    {.name = "max_length", .fallback = 8192, .low = 1, .high = 1e9, .meaning = "L_max, tokens: the unit of length"},
    {.name = "beta", .fallback = 1000, .low = 0, .high = 1e9, .meaning = "strength of the damping"},
    {.name = "delta",
     .fallback = 1e-4,
     .low = 0,
     .high = 1e6,
     .meaning = "the damping starts where the KL against the start of the step is larger"},
    {.name = "kl_form",
     .fallback = 1,
     .low = 1,
     .high = 3,
     .meaning = "estimator of the KL. 1: k1; 2: k2; 3: k3",
     .takes = range::whole},
};

struct split {
  at::Tensor positive, negative; ///< [A] bool; an empty answer is neither
};

split split_of(const at::Tensor& reward, const at::Tensor& length, const hyperparameter_values& values) {
  const at::Tensor good = reward.detach().gt(values.get("threshold")), answered = length.gt(0);
  return {at::logical_and(good, answered), at::logical_and(good.logical_not(), answered)};
}

/// 1 for positive, -1 for negative answers of groups that have both, else 0. The loss does not read it.
at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  const auto [positive, negative] = split_of(step.reward, step.length, values);
  const auto type = step.reward.scalar_type();
  const at::Tensor p = positive.to(type), q = negative.to(type);
  const at::Tensor both =
      at::logical_and(statistics_by_group(p, step.group).mean.gt(0), statistics_by_group(q, step.group).mean.gt(0));
  return spread_over_tokens((p - q) * both.to(type), step.length);
}

/// The objective of one group, to be maximised; 0 unless the group has both kinds of answers.
/// @param score [n] mean log-probability of each answer
at::Tensor objective(const at::Tensor& score, const at::Tensor& length, const split& kinds,
                     const hyperparameter_values& values) {
  const at::Tensor p = kinds.positive.nonzero().squeeze(1), q = kinds.negative.nonzero().squeeze(1);
  if (p.numel() == 0 || q.numel() == 0)
    return score.sum() * 0;
  const double scale = values.get("max_length") * values.get("length_weight"), tau = values.get("tau");
  const at::Tensor weight = (-length.index_select(0, p).to(score.scalar_type()) / scale).softmax(0);
  return (weight * score.index_select(0, p)).sum() - tau * (score.index_select(0, q) / tau).logsumexp(0);
}

/// sg(beta max(0, KL - delta)) KL over the tokens of the micro-batch.
at::Tensor damping(const answer_columns& answers, const hyperparameter_values& values) {
  const at::Tensor d = (answers.logprob - answers.old_logprob.detach()).clamp(-20, 20);
  const double form = values.get("kl_form");
  const at::Tensor kl = (form == 3 ? d.exp() - d - 1 : form == 2 ? d.square() / 2 : -d).mean();
  return values.get("beta") * (kl.detach() - values.get("delta")).clamp_min(0) * kl;
}

at::Tensor losses(const answer_columns& answers, const hyperparameter_values& values, diagnostics&) {
  if (answers.logprob.numel() == 0)
    return answers.logprob * 0;
  const at::Tensor score = mean_by_answer(answers.logprob, answers.length), number = numbered_groups(answers.group);
  const split kinds = split_of(answers.reward, answers.length, values);
  const at::Tensor sizes = at::bincount(number).to(at::kCPU);
  std::vector<at::Tensor> by_group;
  for (std::int64_t g = 0, begin = 0; g < sizes.numel(); ++g) {
    const std::int64_t n = sizes[g].item<std::int64_t>();
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, begin, n); };
    by_group.push_back(
        -objective(part(score), part(answers.length), {part(kinds.positive), part(kinds.negative)}, values));
    begin += n;
  }
  return spread_over_tokens(at::stack(by_group).index_select(0, number), answers.length) + damping(answers, values);
}

} // namespace drpo_row

extern const algorithm drpo;
const algorithm drpo{
    .name = "drpo",
    .source = "Li et al. 2025, Decoupled Reward Policy Optimization, arXiv:2510.04474, section 4",
    .summary =
        "positive answers, short ones first, against a soft maximum of the negative ones; damped by the KL of the step",
    .formula =
        "s_i = mean over t of logprob;  P: answers with R > threshold, Q: the others;  w_i = exp((1 - T_i / "
        "max_length) / length_weight)\n"
        "J_x = sum over P of w_i s_i / sum over P of w_i - tau log(sum over Q of exp(s_j / tau));  0 for a prompt "
        "without both\n"
        "loss = -mean over prompts of J_x + sg(beta max(0, KL - delta)) KL,  KL = mean over tokens of (old - logprob)",
    .differences = "The authors' code writes sum exp / sg(sum exp) for log(sum exp): the gradient is the same, its "
                   "value of the loss differs by a constant for each prompt. They take the padded width for max_length "
                   "and rewards of exactly 1 and 0. KL and its damping are over the micro-batch, not the step, and a "
                   "step of one update has KL 0. length_weight 1e12 is DisCO with the log-likelihood score.",
    .columns = drpo_row::columns,
    .options = drpo_row::options,
    .how = aggregation::group_mean,
    .whole = unit::group,
    .corrects = true,
    .least_answers = 2,
    .advantages = drpo_row::advantages,
    .losses = drpo_row::losses,
};

} // namespace millrace::algorithms
