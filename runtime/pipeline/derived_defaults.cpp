#include "runtime/pipeline/derived_defaults.hpp"

#include "runtime/pipeline/wording.hpp"

namespace millrace::pipeline {
namespace {

/// Between the run's seed and that of made-up held-out prompts: no run of neighbouring seeds trains on them.
constexpr std::int64_t held_out_seeds = 1'000'003;

void name_rules(std::vector<rule_entry>& rules) {
  for (rule_entry& rule : rules)
    if (rule.name.empty())
      rule.name = rule.type;
}

/// The algorithm's aggregation, the rollout's longest answer, and the correction that asynchronous training does not go
/// without unless the file says so.
void fill_loss(const pipeline& p, const policy_table& policy, loss_table& loss, const std::string& path,
               reading& into) {
  const algorithm_type* algorithm = into.words.algorithm(policy.algorithm);
  if (loss.aggregation.empty() && algorithm) {
    loss.aggregation = algorithm->aggregation;
    into.origins[path + ".aggregation"] = "algorithm " + policy.algorithm;
  }
  if (const auto rollouts = p.of<rollout_table>(); loss.fixed_length == 0 && !rollouts.empty()) {
    loss.fixed_length = static_cast<double>(std::get<rollout_table>(rollouts.front()->options).max_new_tokens);
    into.origins[path + ".fixed_length"] = "roles." + rollouts.front()->name + ".max_new_tokens";
  }
  const correction_type* truncated = into.words.correction("truncated");
  if (into.written(path + ".corrections") || !truncated || (algorithm && algorithm->corrects))
    return;
  correction_entry& entry = loss.corrections.emplace_back();
  entry.type = truncated->name;
  for (const option& o : truncated->options)
    entry.options[o.name] = o.fallback;
}

} // namespace

void fill_derived(pipeline& p, reading& into) {
  for (role& r : p.roles) {
    const std::string path = "roles." + r.name;
    if (auto* source = std::get_if<source_table>(&r.options)) {
      std::int64_t further = 0; // two generators of one source do not make up the same numbers
      each_rows(*source, r.name, [&](auto& rows, const std::string& where) {
        if (rows.generator && rows.generator->seed < 0) {
          rows.generator->seed = p.run.seed + further;
          into.origins[where + ".generator.seed"] = further == 0 ? "run.seed" : "run.seed + " + std::to_string(further);
        }
        ++further;
      });
    }
    if (auto* evaluation = std::get_if<evaluation_table>(&r.options)) {
      if (evaluation->generator && evaluation->generator->seed < 0) {
        evaluation->generator->seed = p.run.seed + held_out_seeds;
        into.origins[path + ".generator.seed"] = "run.seed + " + std::to_string(held_out_seeds);
      }
      if (evaluation->seed < 0) {
        evaluation->seed = p.run.seed;
        into.origins[path + ".seed"] = "run.seed";
      }
      name_rules(evaluation->rules);
    }
    if (auto* policy = std::get_if<policy_table>(&r.options))
      fill_loss(p, *policy, policy->loss, path + ".loss", into);
    if (auto* verifier = std::get_if<rule_verifier_table>(&r.options))
      name_rules(verifier->rules);
    if (auto* judge = std::get_if<reward_model_table>(&r.options))
      judge->alone = p.of<rule_verifier_table>().empty() && p.of<reward_model_table>().size() == 1;
    std::visit(
        [&](auto& table) {
          if constexpr (requires { table.name; })
            if (table.name.empty())
              table.name = r.name;
        },
        r.options);
  }
}

} // namespace millrace::pipeline
