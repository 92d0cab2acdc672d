#include "actors/optimizer_options.hpp"

namespace millrace::actors {

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

} // namespace millrace::actors
