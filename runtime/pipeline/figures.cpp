#include "runtime/pipeline/figures.hpp"

#include "runtime/pipeline/abilities.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/pipeline/wording.hpp"
#include "runtime/words/metric_names.hpp"

#include <algorithm>

namespace millrace::pipeline {
namespace {

using metric::timing;

/// Of every step of every pipeline.
std::vector<figure> always() {
  return {
      {std::string(metric::reward), "mean reward of the step's answers"},
      {std::string(metric::reward_std), "standard deviation of the rewards over the step's answers"},
      {std::string(metric::flat_groups), "share of the step's groups whose rewards are all equal: they teach nothing"},
      {std::string(metric::length_mean), "mean length of an answer, tokens, trained or not"},
      {std::string(metric::length_max), "length of the longest answer, tokens, trained or not"},
      {std::string(metric::loss), "the loss, mean over the step's updates"},
      {std::string(metric::entropy), "mean entropy of the policy at the answers' tokens, nats"},
      {std::string(metric::kl), "mean KL of a token to the reference, nats; 0 without a KL in the loss"},
      {"kl/coefficient", "weight of that KL in the loss; it moves where loss.kl_target is set"},
      {"kl/proximal", "KL from the policy at the start of the step to the current one, nats a token (k3)"},
      {std::string(metric::policy_kl), "KL from the policy that sampled to the current one, nats a token (k1)"},
      {std::string(metric::mismatch_kl),
       "the same by the estimator k3, never negative: how far rollout and learner are "
       "apart"},
      {std::string(metric::clip_fraction), "share of the tokens whose ratio was clipped"},
      {std::string(metric::gradient_norm), "L2 norm of the gradient before it was clipped, of the last update"},
      {std::string(metric::learning_rate), "learning rate of the step"},
      {std::string(metric::staleness_mean), "mean age of the trained tokens, policy versions"},
      {std::string(metric::staleness_max), "age of the oldest trained token, policy versions"},
      {"importance/mean", "mean weight of a token by the corrections"},
      {"importance/max", "largest weight of a token"},
      {"importance/masked_fraction", "share of the tokens to which a correction gave the weight 0"},
      {"importance/truncated_fraction", "share of the tokens whose weight was cut at a cap"},
      {"importance/effective_sample_fraction",
       "(sum of weights)^2 / (tokens x sum of squares): 1 = every token counts alike, near 0 = a few rule the step"},
      {"updates", "optimizer updates of the step"},
      {std::string(metric::micro_batches), "micro-batches that the step's updates were computed in"},
      {"train/memory_ran_out",
       "times in the step that memory ran out over a micro-batch: its update began again, with less at a time"},
      {"updates/stopped_on_kl", "1 where target_kl ended the step early"},
      {"groups/unusable", "groups of the step left out: a reward or log-probability was not finite"},
      {"groups/zero_variance", "groups dropped because all their rewards were equal, since the run began"},
      {"groups/unscored", "groups dropped since the last step because a role could not score them"},
      {"answers/masked", "answers left out since the last step because they could not be scored (failed = \"mask\")"},
      {"verifier/failures/timeout", "answers since the last step that no rule scored before its deadline"},
      {"verifier/failures/crash",
       "answers since the last step over which a rule's function raised or its process died"},
      {"verifier/failures/malformed", "answers since the last step for which a rule gave something that is no score"},
      {"verifier/failures/refused", "answers since the last step that a rule did not take: nobody was there to ask"},
      {"groups/dropped", "groups dropped for any reason, since the run began"},
      {"steps/skipped", "1 where the step changed nothing: its loss or gradient was not finite"},
      {"tokens/prompt", "tokens of the step's prompts"},
      {"tokens/fed", "tokens that the learner's forward passes were fed"},
      {"tokens/flat_left_out", "tokens of groups whose every advantage is 0, which were not computed"},
      {std::string(metric::tokens), "answer tokens trained since the run began"},
      {std::string(metric::tokens_generated), "answer tokens generated since the run began"},
      {std::string(metric::version), "version of the weights after the step"},
      {std::string(metric::generation_rate), "tokens generated a second, by all rollouts"},
      {std::string(metric::time_per_step), "seconds from the end of the step before to the end of this one"},
      {timing("forward"), "seconds of the step's forward passes"},
      {timing("backward"), "seconds of its backward passes"},
      {timing("optimizer"), "seconds of its optimizer updates"},
      {timing("train"), "seconds of the learner's whole step"},
  };
}

void add_rare(std::vector<figure>& list) {
  list.push_back({std::string(metric::logprob_gap), "where the learner recomputes what was sampled: largest |rollout - "
                                                    "learner| of a log-probability, nats"});
  list.push_back({std::string(metric::logprob_gap_mean), "the mean of the same differences"});
  list.push_back(
      {"tokens/masked", "where tokens were too old to be trained, or of answers without a score: their number"});
  for (const auto age : metric::ages) {
    const std::string of = "where tokens " + std::string(age) + " versions old are trained: ";
    const auto add = [&](std::string_view name, const std::string& meaning) {
      list.push_back({metric::of_age(age, name), of + meaning});
    };
    add("tokens", "their number");
    add("reward", "mean reward of the answers whose oldest token is one of them");
    add("entropy", "their mean entropy, nats");
    add("kl", "their KL from the policy that sampled, nats (k3)");
    add("kl_k1", "the same by the estimator k1");
    add("ratio", "their mean ratio of probabilities, current over sampling policy");
    add("ratio_max", "the largest such ratio");
    add("clip_fraction", "share of them that was clipped");
  }
}

void add_rollouts(std::vector<figure>& list, const pipeline& p) {
  const auto rollouts = p.of<rollout_table>();
  if (rollouts.empty())
    return;
  list.push_back(
      {std::string(metric::prompt_tokens_found),
       "prompt tokens since the session began whose keys and values were there: another prompt began alike"});
  list.push_back(
      {std::string(metric::prompt_tokens_computed), "prompt tokens since the session began that were computed"});
  const auto any_has = [&](std::string rollout_table::*key) {
    return std::ranges::any_of(rollouts,
                               [key](const role* r) { return !(std::get<rollout_table>(r->options).*key).empty(); });
  };
  if (any_has(&rollout_table::serve))
    list.push_back({std::string(metric::client_tokens),
                    "tokens since the session began that rollouts sampled for clients, beside the run"});
  if (!any_has(&rollout_table::environment))
    return;
  list.push_back({"episodes/turns", "mean number of turns of an episode"});
  list.push_back(
      {"episodes/segments",
       "mean number of sequences that an episode is read as: more than one where its history was rewritten"});
  list.push_back(
      {"tokens/observed", "tokens that environments said in the step's episodes: they are read and not trained"});
  const auto environments = p.of<environment_table>();
  const auto any = [&](bool environments::environment_type::*trait) {
    return std::ranges::any_of(environments, [trait](const role* r) {
      const auto* type = environments::find_environment_type(std::get<environment_table>(r->options).type);
      return type && type->*trait;
    });
  };
  if (any(&environments::environment_type::rewrites))
    list.push_back({std::string(metric::rewritten_histories),
                    "histories that environments and their clients have rewritten since the session began"});
  if (any(&environments::environment_type::clients) || std::ranges::any_of(environments, [](const role* r) {
        return !std::get<environment_table>(r->options).tools.empty();
      })) {
    list.push_back({std::string(metric::tool_calls), "calls of tools since the session began"});
    list.push_back({std::string(metric::malformed_calls), "those of them that are malformed: the policy is told so"});
  }
}

void add_critic(std::vector<figure>& list) {
  list.insert(list.end(),
              {{"critic/vf_loss", "the critic's loss"},
               {"critic/memory_ran_out", "times in the step that memory ran out over one of its micro-batches"},
               {"critic/vf_clipfrac", "share of the tokens whose value was clipped"},
               {"critic/vf_explained_var", "share of the returns' variance that the values explain; 1 = all"},
               {"critic/values/mean", "mean value that the critic gave"},
               {"critic/returns/mean", "mean return that it should have given"},
               {"critic/grad_norm", "L2 norm of the critic's gradient before it was clipped"},
               {"critic/lr", "the critic's learning rate"},
               {"critic/groups/unusable", "groups that the critic left out: a number was not finite"},
               {timing("critic"), "seconds of the critic's step"}});
}

/// What an evaluation makes for all rows together and, where they have several data sources, for each.
std::vector<figure> headlines(const evaluation_table& table) {
  const std::string n = std::to_string(table.answers_per_prompt);
  std::vector<figure> list;
  for (const auto k : table.pass_at)
    list.push_back({"pass@" + std::to_string(k),
                    "chance that one of " + std::to_string(k) + (k == 1 ? " answer" : " answers") + " is correct"});
  list.push_back({"avg@" + n, "share of the " + n + " answers to a prompt that is correct"});
  list.push_back({"maj@" + n, "where the first rule reads a result to vote for: share of the prompts whose most "
                              "frequent result is correct"});
  list.push_back({"reward", "mean reward of an answer"});
  for (const auto budget : table.budgets)
    list.push_back({"budget@" + std::to_string(budget), "share of answers that are correct when they are cut off at "
                                                            + std::to_string(budget)
                                                            + (budget == 1 ? " token" : " tokens")});
  return list;
}

void add_evaluation(std::vector<figure>& list, const role& r, const evaluation_table& table) {
  const auto add = [&](const std::string& name, const std::string& meaning) {
    list.push_back({metric::evaluation(r.name, name), meaning});
  };
  for (const auto& [name, meaning] : headlines(table))
    add(name, meaning);
  add("length/mean", "mean length of an answer, sampled tokens");
  add("length/clip_ratio", "share of the answers cut off at max_new_tokens");
  if (!table.environment.empty()) {
    add("episodes/turns", "mean number of turns of an episode");
    add("episodes/observed", "mean number of tokens that the environment said in an episode");
  }
  add("rows", "prompts asked");
  add("unscored", "prompts with an answer that could not be scored: they are in no mean but those of lengths");
  add("answers", "answers sampled");
  add("tokens", "tokens sampled, beside the ledger");
  add("seconds", "seconds that the evaluation took");
}

/// Whether `name` is what a rule of a verifier may say beside its scores.
bool is_detail_of_rule(const pipeline& p, const std::string& name) {
  for (const role* r : p.of<rule_verifier_table>())
    for (const rule_entry& rule : std::get<rule_verifier_table>(r->options).rules)
      if (const std::string start = metric::rule_detail(rule.name, ""); name.starts_with(start) && name != start)
        return true;
  return false;
}

/// Whether `name` is a headline figure of one data source of an evaluation.
bool is_of_source(const pipeline& p, const std::string& name) {
  for (const role* r : p.of<evaluation_table>()) {
    const std::string start = metric::evaluation(r->name, "");
    if (!name.starts_with(start))
      continue;
    for (const auto& [headline, meaning] : headlines(std::get<evaluation_table>(r->options)))
      if (name.size() > start.size() + headline.size() + 1 && name.ends_with('/' + headline))
        return true;
  }
  return false;
}

} // namespace

std::vector<figure> figures_of(const pipeline& p) {
  auto list = always();
  for (const role* r : p.of<rule_verifier_table>())
    for (const rule_entry& rule : std::get<rule_verifier_table>(r->options).rules) {
      list.push_back({metric::rule_reward(rule.name), "mean score by the rule " + rule.name + ", without its weight"});
      if (const auto* type = built_in_vocabulary().rule(rule.type); type && type->outside)
        list.push_back({metric::rule_detail(rule.name, "KEY"),
                        "mean of KEY, for each key that the rule " + rule.name + " gives beside its score"});
    }
  for (const role* r : p.of<source_table>())
    for (const source_entry& source : std::get<source_table>(r->options).sources) {
      list.push_back({metric::source_reward(source.name), "mean reward of the step's groups from " + source.name});
      list.push_back({metric::source_groups(source.name), "groups of the step whose prompt is from " + source.name});
    }
  for (const auto& r : p.roles)
    if (const auto can = abilities_of(r); can.adds_columns || can.leads)
      list.push_back({"groups/unscored/" + r.name, "groups that " + r.name
                                                       + (can.adds_columns ? " could not score or add its columns to"
                                                                           : " could not train for want of scores")});
  for (const role* r : p.of<reward_model_table>()) {
    const auto& name = std::get<reward_model_table>(r->options).name;
    list.push_back({metric::rule_reward(name), "mean score by the reward model " + r->name});
  }
  add_rollouts(list, p);
  if (!p.of<critic_table>().empty())
    add_critic(list);
  for (const role* r : p.of<policy_table>())
    if (std::get<policy_table>(r->options).pretraining)
      list.push_back({"pretraining/loss", "loss of the plain text that is mixed in"});
  for (const role* r : p.of<policy_table>())
    if (const auto& table = std::get<policy_table>(r->options); table.publish_deltas || table.lora)
      list.push_back({"weights/published_share",
                      "bytes that a rollout on another host pulls of the version that was published before the step "
                      "(its adapter, or what differed), as a share of all of it; 1: all of it"});
  for (const role* r : p.of<demonstrations_table>())
    if (std::get<demonstrations_table>(r->options).form == "preference")
      list.push_back({"preference/accuracy", "share of the pairs whose better answer the policy prefers"});
  add_rare(list);
  for (const role* r : p.of<evaluation_table>())
    add_evaluation(list, *r, std::get<evaluation_table>(r->options));
  return list;
}

std::string no_figure(const pipeline& p, const std::string& name) {
  const auto known = names_of(figures_of(p));
  if (std::find(known.begin(), known.end(), name) != known.end() || is_of_source(p, name) || is_detail_of_rule(p, name))
    return {};
  std::string near = nearest(name, known);
  for (const auto& one : known) // "held_out/pass@1" of an evaluation's
    if (near.empty() && one.ends_with('/' + name))
      near = one;
  return "found " + in_quotes(name) + ", want a figure that the pipeline makes"
         + (near.empty() ? "" : ", did you mean " + in_quotes(near) + '?') + " (millrace metrics FILE lists them)";
}

} // namespace millrace::pipeline
