#include "algorithms/algorithm.hpp"
#include "algorithms/group_statistics.hpp"
#include "algorithms/preference_pairs.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace dpo_row {

constexpr column_name columns[] = {"reward", "ref_logprob"};
constexpr hyperparameter options[] = {
    {.name = "beta", .fallback = 0.1, .low = 1e-6, .high = 1e6, .meaning = "strength of the pull to the reference"},
    {.name = "form",
     .fallback = 0,
     .low = 0,
     .high = 2,
     .meaning = "loss of a pair. 0: sigmoid; 1: IPO; 2: hinge",
     .takes = range::whole},
    {.name = "label_smoothing",
     .fallback = 0,
     .low = 0,
     .high = 0.5,
     .meaning = "share of the pairs whose answers count as swapped (sigmoid only)"},
    {.name = "length_mean",
     .fallback = 0,
     .low = 0,
     .high = 1,
     .meaning = "log-ratio of an answer. 1: the mean over its tokens; 0: the sum",
     .takes = range::whole},
};

at::Tensor losses(const answer_columns& answers, const hyperparameter_values& values, diagnostics&) {
  TORCH_CHECK(answers.ref_logprob.defined(), "ref_logprob: missing, and dpo needs it");
  const at::Tensor token_ratio = answers.logprob - answers.ref_logprob.detach();
  const at::Tensor ratio = values.on("length_mean") ? mean_by_answer(token_ratio, answers.length)
                                                    : sum_by_answer(token_ratio, answers.length);
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

} // namespace dpo_row

extern const algorithm dpo;
const algorithm dpo{
    .name = "dpo",
    .source = "Rafailov et al. 2023, DPO, arXiv:2305.18290, eq. 7; IPO: Azar et al. 2023, arXiv:2310.12036, eq. 17; "
              "hinge: SLiC, arXiv:2305.10425",
    .summary = "supervised on pairs: the answer with the larger reward of a group against the smaller",
    .formula = "d = sum over t of (logprob - ref) of the chosen answer, less that of the rejected one\n"
               "sigmoid: L = -(1 - e) log sigmoid(beta d) - e log sigmoid(-beta d),  e: label_smoothing;  IPO: (d - 1 "
               "/ (2 beta))^2;  hinge: max(0, 1 - beta d)\n"
               "mean over the pairs of a group, mean over groups",
    .differences = "Every two answers of different reward are a pair: one in a group of two, as in TRL and OpenRLHF. A "
                   "group of equal rewards has loss 0 but stays in the mean. TRL's IPO takes means over tokens "
                   "(length_mean 1; with sigmoid it is TRL's sigmoid_norm), OpenRLHF's sums.",
    .columns = dpo_row::columns,
    .options = dpo_row::options,
    .how = aggregation::group_mean,
    .whole = unit::group,
    .corrects = true,
    .least_answers = 2,
    .advantages = pair_advantages,
    .losses = dpo_row::losses,
};

} // namespace millrace::algorithms
