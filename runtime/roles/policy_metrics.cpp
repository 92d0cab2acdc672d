#include "runtime/roles/policy_metrics.hpp"

#include "runtime/telemetry/metrics.hpp"

#include <cstdint>
#include <cstdio>
#include <string_view>
#include <vector>

namespace millrace::roles {
namespace {

static_assert(algorithms::age_words == telemetry::metric::ages);

std::string listed(const std::vector<std::uint64_t>& groups) {
  std::string out;
  for (const auto id : groups)
    out += (out.empty() ? "" : ", ") + std::to_string(id);
  return (groups.size() == 1 ? "group " : "groups ") + out;
}

} // namespace

std::string complaint_of(const train::step_report& r) {
  std::string out = r.reason;
  if (!r.culprits.empty())
    out += " (" + listed(r.culprits) + ")";
  else if (!r.unusable.empty())
    out += (out.empty() ? "" : "; ") + listed(r.unusable) + " left out: a reward or log-probability is not finite";
  return out + (out.empty() || r.lesson.empty() ? "" : "; ") + r.lesson;
}

std::string mismatch_complaint_of(const train::step_report& r) {
  if (!(r.mean_mismatch() > large_mismatch))
    return "";
  char text[256];
  std::snprintf(text, sizeof text,
                "log-probabilities of rollout and learner differ by %.3f nats a token for the same weights, more than "
                "%.2f; loss.corrections that bound what this does: truncated, masked, icepop, rejection",
                r.mean_mismatch(), large_mismatch);
  return text;
}

namespace {

void add_episodes(std::map<std::string, double>& m, const train::step_report& r) {
  if (r.turns == 0)
    return;
  m["episodes/turns"] = static_cast<double>(r.turns) / static_cast<double>(r.answers);
  m["episodes/segments"] = static_cast<double>(r.segments) / static_cast<double>(r.answers);
  m["tokens/observed"] = static_cast<double>(r.observed_tokens);
}

} // namespace

/// The figures of a step under the names that dashboards know.
std::map<std::string, double> metrics_of(const train::step_report& r) {
  namespace metric = telemetry::metric;
  std::map<std::string, double> m;
  const auto set = [&](std::string_view name, double value) { m[std::string(name)] = value; };
  set(metric::loss, r.loss);
  set(metric::reward, r.reward_mean);
  set(metric::reward_std, r.reward_deviation);
  set(metric::gradient_norm, r.gradient_norm);
  set(metric::learning_rate, r.learning_rate);
  set(metric::flat_groups, r.groups ? static_cast<double>(r.zero_variance_groups) / static_cast<double>(r.groups) : 0);
  set(metric::length_mean, r.answers ? static_cast<double>(r.sampled_tokens) / static_cast<double>(r.answers) : 0);
  set(metric::length_max, static_cast<double>(r.longest_answer));
  set(metric::staleness_mean, r.staleness_mean);
  set(metric::staleness_max, r.staleness_max);
  set(metric::clip_fraction, r.seen.clip_fraction());
  set(metric::policy_kl, r.seen.kl_k1());
  set(metric::mismatch_kl, r.seen.kl_k3());
  set(metric::kl, r.seen.mean_reference_kl());
  set(metric::entropy, r.seen.mean_entropy());
  set("kl/proximal", r.seen.proximal_kl());
  set("kl/coefficient", r.kl_coefficient);
  set("updates", static_cast<double>(r.updates));
  set(metric::micro_batches, static_cast<double>(r.micro_batches));
  set("train/memory_ran_out", static_cast<double>(r.memory_ran_out));
  set("updates/stopped_on_kl", r.stopped_on_kl ? 1 : 0);
  set("groups/unusable", static_cast<double>(r.unusable.size()));
  set("importance/masked_fraction", r.seen.masked_fraction());
  set("importance/mean", r.seen.mean_weight());
  set("importance/max", r.seen.largest_weight);
  set("importance/truncated_fraction", r.seen.truncated_fraction());
  set("importance/effective_sample_fraction", r.seen.effective_sample_fraction());
  if (r.logprob_mismatch >= 0)
    set(metric::logprob_gap, r.logprob_mismatch);
  if (r.mismatch_tokens > 0)
    set(metric::logprob_gap_mean, r.mean_mismatch());
  if (r.pairs > 0)
    set("preference/accuracy", static_cast<double>(r.pairs_right) / static_cast<double>(r.pairs));
  if (r.text_loss >= 0)
    set("pretraining/loss", r.text_loss);
  for (std::size_t i = 0; i < r.by_age.size(); ++i) {
    const auto& here = r.by_age[i];
    const auto& seen = r.seen.by_age[i];
    if (here.tokens == 0)
      continue;
    const auto of_age = [&](std::string_view figure, double value) {
      m[metric::of_age(algorithms::age_words[i], figure)] = value;
    };
    of_age("tokens", static_cast<double>(here.tokens));
    if (here.answers > 0)
      of_age("reward", here.reward / static_cast<double>(here.answers));
    if (seen.tokens == 0)
      continue;
    const auto mean = [&](double sum) { return sum / static_cast<double>(seen.tokens); };
    of_age("entropy", mean(seen.entropy));
    of_age("kl", mean(seen.k3));
    of_age("kl_k1", mean(seen.k1));
    of_age("ratio", mean(seen.ratio));
    of_age("ratio_max", seen.largest_ratio);
    of_age("clip_fraction", mean(static_cast<double>(seen.clipped)));
  }
  add_episodes(m, r);
  set(metric::prompt_tokens, static_cast<double>(r.prompt_tokens));
  set("tokens/fed", static_cast<double>(r.fed_tokens));
  set(metric::flat_tokens, static_cast<double>(r.flat_tokens_left_out));
  m[telemetry::metric::timing("forward")] = r.forward_s;
  m[telemetry::metric::timing("backward")] = r.backward_s;
  m[telemetry::metric::timing("optimizer")] = r.optimizer_s;
  m[telemetry::metric::timing("train")] = r.total_s;
  return m;
}

} // namespace millrace::roles
