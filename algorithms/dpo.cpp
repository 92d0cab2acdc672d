#include "algorithms/algorithm.hpp"
#include "algorithms/group_statistics.hpp"
#include "algorithms/preference_pairs.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace {

constexpr column_name columns[] = {"reward", "ref_logprob"};
constexpr option options[] = {{"beta", 0.1, 1e-6, 1e6, "how hard the reference holds"},
                              {"form", 0, 0, 2, "0: sigmoid, 1: IPO, 2: hinge"},
                              {"label_smoothing", 0, 0, 0.5, "share of the pairs that are taken for turned round (sigmoid)"},
                              {"length_mean", 0, 0, 1, "1: log-ratios are means over the answer's tokens, 0: sums"}};

/// 1 at the tokens of groups that have a pair, else 0.
at::Tensor advantages(const step_columns& step, const option_values&) {
  return spread_over_tokens(statistics_by_group(step.reward, step.group).equal.logical_not().to(step.reward.scalar_type()), step.length);
}

at::Tensor losses(const answer_columns& answers, const option_values& values, diagnostics&) {
  TORCH_CHECK(answers.ref_logprob.defined(), "ref_logprob: missing, and dpo needs it");
  const at::Tensor token_ratio = answers.logprob - answers.ref_logprob.detach();
  const at::Tensor ratio = values.on("length_mean") ? mean_by_answer(token_ratio, answers.length) : sum_by_answer(token_ratio, answers.length);
  const preference_pairs pairs = pairs_of(answers.reward, answers.group);
  const at::Tensor lead = ratio.index_select(0, pairs.chosen) - ratio.index_select(0, pairs.rejected);
  const double beta = values.get("beta"), turned = values.get("label_smoothing");
  const auto loss = [&]() -> at::Tensor {
    if (values.get("form") == 1)
      return (lead - 1 / (2 * beta)).square();
    if (values.get("form") == 2)
      return (1 - beta * lead).relu();
    return -(1 - turned) * at::log_sigmoid(beta * lead) - turned * at::log_sigmoid(-beta * lead);
  };
  return pair_losses_at_tokens(loss(), pairs, answers.group, answers.length);
}

} // namespace

extern const algorithm dpo;
const algorithm dpo{
    .name = "dpo",
    .source = "Rafailov et al. 2023, DPO, arXiv:2305.18290, eq. 7; IPO: Azar et al. 2023, arXiv:2310.12036, eq. 17; hinge: SLiC, arXiv:2305.10425",
    .summary = "supervised on pairs: the answer with the larger reward of a group against the smaller",
    .formula = "d = sum over t of (logprob - ref) of the chosen answer, less that of the rejected one\n"
               "sigmoid: L = -(1 - e) log sigmoid(beta d) - e log sigmoid(-beta d),  e: label_smoothing;  IPO: (d - 1 / (2 beta))^2;  hinge: max(0, 1 - beta d)\n"
               "mean over the pairs of a group, mean over groups",
    .differences = "Every two answers of different reward are a pair: one in a group of two, as in TRL and OpenRLHF. A group of equal rewards has loss 0 but "
                   "stays in the mean. TRL's IPO takes means over tokens (length_mean 1; with sigmoid it is TRL's sigmoid_norm), OpenRLHF's sums.",
    .columns = columns,
    .options = options,
    .how = aggregation::group_mean,
    .whole = unit::group,
    .corrects = true,
    .advantages = advantages,
    .losses = losses};

} // namespace millrace::algorithms
