#include "algorithms/algorithm.hpp"
#include "algorithms/preference_pairs.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace bradley_terry_row {

constexpr column_name columns[] = {"reward"};
constexpr hyperparameter options[] = {
    {.name = "margin", .fallback = 0, .low = -1e6, .high = 1e6, .meaning = "lead that the chosen score should have"},
    {.name = "margin_per_reward",
     .fallback = 0,
     .low = -1e6,
     .high = 1e6,
     .meaning = "added to the margin, times the difference of the two rewards"},
    {.name = "centring",
     .fallback = 0,
     .low = 0,
     .high = 1e6,
     .meaning = "coefficient of (s_chosen + s_rejected)^2, which holds scores around 0 (TRL suggests 0.01)"},
};

at::Tensor losses(const answer_columns& answers, const hyperparameter_values& values, diagnostics&) {
  TORCH_CHECK(answers.score.defined(), "score: missing, and bradley_terry needs a score head");
  const preference_pairs pairs = pairs_of(answers.reward, answers.group);
  const auto both = [&](const at::Tensor& x) {
    return std::pair(x.index_select(0, pairs.chosen), x.index_select(0, pairs.rejected));
  };
  const auto [chosen, rejected] = both(answers.score);
  const auto [better, worse] = both(answers.reward.detach().to(answers.score.scalar_type()));
  const at::Tensor margin = values.get("margin") + values.get("margin_per_reward") * (better - worse);
  const at::Tensor loss =
      -at::log_sigmoid(chosen - rejected - margin) + values.get("centring") * (chosen + rejected).square();
  return pair_losses_at_tokens(loss, pairs, answers.group, answers.length);
}

} // namespace bradley_terry_row

extern const algorithm bradley_terry;
const algorithm bradley_terry{
    .name = "bradley_terry",
    .source = "Ouyang et al. 2022, InstructGPT, arXiv:2203.02155, eq. 1; margin: Llama 2, arXiv:2307.09288, eq. 2; "
              "centring: arXiv:2312.09244",
    .summary = "supervised, of a score head: a reward model that ranks the answers of a group",
    .formula = "L = -log sigmoid(s_chosen - s_rejected - m) + centring (s_chosen + s_rejected)^2,  m = margin + "
               "margin_per_reward (R_chosen - R_rejected)\n"
               "mean over the pairs of a group, mean over groups",
    .differences = "Every two answers of different reward are a pair: one in a group of two, as in TRL and OpenRLHF. "
                   "The margin of a pair is a column there; here it is a number, or the rewards' difference times one. "
                   "A group of equal rewards has loss 0 but stays in the mean.",
    .columns = bradley_terry_row::columns,
    .options = bradley_terry_row::options,
    .how = aggregation::group_mean,
    .whole = unit::group,
    .on = head::score,
    .corrects = true,
    .least_answers = 2,
    .advantages = pair_advantages,
    .losses = bradley_terry_row::losses,
};

} // namespace millrace::algorithms
