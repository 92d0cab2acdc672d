#include "algorithms/algorithm.hpp"
#include "algorithms/clip_options.hpp"
#include "algorithms/token_rewards.hpp"
#include "algorithms/vtrace_targets.hpp"

#include <ATen/ATen.h>

namespace millrace::algorithms {
namespace vtrace_row {

using namespace shared_options;

constexpr column_name columns[] = {"reward", "value"};
constexpr hyperparameter options[] = {
    clip_low,
    clip_high,
    dual_clip,
    {.name = "gamma", .fallback = 1, .low = 0, .high = 1, .meaning = "discount of a token"},
    {.name = "rho_bar", .fallback = 1, .low = 0, .high = 1e9, .meaning = "cap of the weight of a temporal difference"},
    {.name = "c_bar", .fallback = 1, .low = 0, .high = 1e9, .meaning = "cap of the weights of the trace"},
    {.name = "pg_rho_bar", .fallback = 1, .low = 0, .high = 1e9, .meaning = "cap of the weight of the policy gradient"},
    reward_clip,
    kl_in_reward,
    kl_in_reward_estimator,
};

vtrace_targets targets(const at::Tensor& log_ratio, const step_columns& step, const hyperparameter_values& values) {
  TORCH_CHECK(step.value.defined(), "value: missing, and vtrace needs it");
  return trace_values(log_ratio, token_rewards(step, values), step.value, step.length, values.get("gamma"),
                      {.rho = values.get("rho_bar"), .c = values.get("c_bar"), .pg_rho = values.get("pg_rho_bar")});
}

at::Tensor advantages(const step_columns& step, const hyperparameter_values& values) {
  TORCH_CHECK(step.old_logprob.defined(), "old_logprob: missing, and vtrace needs it");
  return targets(step.old_logprob - step.behaviour_logprob, step, values).advantages;
}

at::Tensor returns(const step_columns& step, const hyperparameter_values& values) {
  TORCH_CHECK(step.old_logprob.defined(), "old_logprob: missing, and the targets of vtrace's critic need it");
  return targets(step.old_logprob - step.behaviour_logprob, step, values).values;
}

} // namespace vtrace_row

extern const algorithm vtrace;
const algorithm vtrace{
    .name = "vtrace",
    .source = "Espeholt et al. 2018, IMPALA, arXiv:1802.01561, section 4",
    .summary = "advantages by V-trace against a critic, importance weights capped inside; clipped surrogate",
    .formula = "w_t = exp(old_t - behaviour_t);  v_t = V_t + min(rho_bar, w_t) (r_t + gamma V_{t+1} - V_t) + gamma "
               "min(c_bar, w_t) (v_{t+1} - V_{t+1})\n"
               "A_t = min(pg_rho_bar, w_t) (r_t + gamma v_{t+1} - V_t);  r_t = R [t = T] - kl_in_reward * KL_t\n"
               "r = exp(logprob - old);  L = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)",
    .differences = "IMPALA makes one update a batch and has no clip; here the clip bounds further updates and does "
                   "nothing to the first. Advantages are not whitened. The weights are inside: corrections on top "
                   "would count them twice, so none is the default. The critic role trains after the policy's update, "
                   "on the targets that the policy makes before it.",
    .columns = vtrace_row::columns,
    .options = vtrace_row::options,
    .wants_old_logprob = true,
    .by_advantage = true,
    .corrects = true,
    .advantages = vtrace_row::advantages,
    .returns = vtrace_row::returns,
    .losses = clipped_losses,
};

} // namespace millrace::algorithms
