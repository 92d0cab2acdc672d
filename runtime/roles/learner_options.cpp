#include "runtime/roles/learner_options.hpp"

#include "runtime/pipeline/loss_checks.hpp"

#include <variant>

namespace millrace::roles {

static_assert(pipeline::k3_input == algorithms::kl_clamps::k3_input);

std::map<std::string, double> numbers_of(std::span<const algorithms::hyperparameter> options,
                                         const millrace::option_values& values) {
  std::map<std::string, double> numbers;
  for (const algorithms::hyperparameter& o : options) {
    const auto found = values.find(std::string(o.name));
    if (found == values.end())
      continue;
    const auto* word = std::get_if<std::string>(&found->second);
    numbers[found->first] = word ? algorithms::number_of(o, *word) : std::get<double>(found->second);
  }
  return numbers;
}

algorithms::loss_options loss_options_of(const pipeline::loss_table& table) {
  algorithms::loss_options loss;
  if (!table.aggregation.empty())
    loss.how = algorithms::aggregation_named(table.aggregation);
  if (table.fixed_length > 0)
    loss.fixed_length = table.fixed_length;
  loss.kl = algorithms::kl_estimator_named(table.kl_estimator);
  loss.clamps = {table.kl_clamp_input, table.kl_clamp_output};
  loss.kl_coefficient = table.kl_coefficient;
  loss.entropy_coefficient = table.entropy_coefficient;
  loss.against = algorithms::proximal_named(table.proximal);
  for (const pipeline::correction_entry& entry : table.corrections) {
    const algorithms::correction* row = algorithms::find_correction(entry.type);
    loss.corrections.push_back(
        {row, algorithms::hyperparameter_values(row->options, numbers_of(row->options, entry.options))});
  }
  return loss;
}

std::vector<train::reward_part> reward_parts_of(const pipeline::pipeline& p) {
  std::vector<train::reward_part> parts;
  for (const auto& part : std::get<pipeline::policy_table>(p.policy().options).rewards)
    parts.push_back({part.name, part.weight, train::normalisation_named(part.normalise)});
  return parts;
}

train::learner_options learner_options_of(const pipeline::pipeline& p, int threads) {
  const auto& table = std::get<pipeline::policy_table>(p.policy().options);
  train::learner_options options;
  options.algorithm = table.algorithm;
  options.algorithm_options = numbers_of(algorithms::find(table.algorithm)->options, table.algorithm_options);
  options.loss = loss_options_of(table.loss);
  options.kl_control = {table.loss.kl_target, table.loss.kl_horizon};
  options.updates_per_batch = table.updates_per_batch;
  options.epochs = table.epochs;
  options.target_kl = table.target_kl;
  options.optimizer = optimizer_options_of(table.optimizer, p.run.steps);
  options.temperature = pipeline::sampling_temperature(p);
  options.sampled = !p.of<pipeline::rollout_table>().empty();
  options.micro_batch_tokens = table.micro_batch_tokens;
  options.turn_discount = table.turn_discount;
  options.skip_flat_groups = table.skip_flat_groups;
  if (table.activation_checkpointing)
    options.activations = model::activations::recomputed;
  options.micro_batches_at_once = static_cast<int>(table.micro_batches_at_once);
  options.computes = table.compute_dtype;
  options.rounds_weights =
      table.match_rollouts && options.sampled && p.models.at(table.model).dtype == precision::bfloat16;
  options.threads = threads;
  return options;
}

bool ranks_share_groups(const pipeline::pipeline& p) {
  return p.processes_of(p.policy().name) > 1 && p.of<pipeline::critic_table>().empty()
         && p.of<pipeline::environment_table>().empty() && p.schedule.clock.minibatches == 1
         && train::shares_groups(learner_options_of(p, 0));
}

train::optimizer_options optimizer_options_of(const pipeline::optimizer_table& table, std::int64_t steps) {
  train::optimizer_options options;
  options.lr = table.lr;
  options.beta1 = table.betas[0];
  options.beta2 = table.betas[1];
  options.eps = table.eps;
  options.weight_decay = table.weight_decay;
  options.decay_norms = table.decay_norms;
  options.warmup_steps = table.warmup_steps;
  options.schedule = train::decay_named(table.decay);
  options.stable_share = table.stable_share;
  options.form = train::wsd_form_named(table.wsd_form);
  options.total_steps = steps;
  options.final_lr_fraction = table.final_lr_fraction;
  options.clip_norm = table.clip_norm;
  for (const auto& group : table.groups)
    options.groups.push_back({group.match, group.lr, group.weight_decay});
  return options;
}

} // namespace millrace::roles
