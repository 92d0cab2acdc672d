#include "runtime/telemetry/summary.hpp"

#include "runtime/telemetry/printed.hpp"
#include "runtime/telemetry/progress.hpp"
#include "runtime/telemetry/text_curve.hpp"

#include <algorithm>
#include <cmath>

namespace millrace::telemetry {
namespace {

namespace fs = std::filesystem;

/// "1,234,567"
std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(std::abs(number));
  for (auto at = std::ssize(digits) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return number < 0 ? "-" + digits : digits;
}

/// "a 3, b 2"
std::string listed(const std::vector<std::pair<std::string, std::int64_t>>& counts) {
  std::string text;
  for (const auto& [name, count] : counts)
    text += (text.empty() ? "" : ", ") + name + " " + grouped(count);
  return text;
}

double mean_of(std::span<const double> values) {
  double sum = 0;
  int finite = 0;
  for (const double value : values) {
    if (std::isfinite(value)) {
      sum += value;
      ++finite;
    }
  }
  return finite > 0 ? sum / finite : std::nan("");
}

std::string rewards_in_words(std::span<const double> rewards) {
  const std::string curve = text_curve(rewards);
  if (curve.empty())
    return "";
  std::string text = "\nmean reward by step\n" + curve;
  if (rewards.size() >= 15)
    text += printed("  first 5 steps %.3f, last 10 steps %.3f\n", mean_of(rewards.first(5)), mean_of(rewards.last(10)));
  return text;
}

/// What held-out prompts said before and after.
std::string evaluations_in_words(const run_summary& summary) {
  std::string text;
  for (const auto& [role, points] : summary.evaluations) {
    const std::string line = in_words(points);
    if (!line.empty())
      text += role + "  " + line + "\n";
  }
  return text;
}

std::string tokens_in_words(const ledger_totals& ledger) {
  std::string text = "tokens  " + grouped(ledger.generated) + " generated = " + grouped(ledger.trained) + " trained + "
                     + grouped(ledger.dropped_total()) + " dropped";
  if (ledger.dropped_total() > 0)
    text += " (" + listed(ledger.dropped) + ")";
  text += " + " + grouped(ledger.live) + " live\n";
  if (!ledger.closes())
    text += "        the ledger does not close: please report this run\n";
  return text;
}

/// One line a file that is there, with what it is good for.
std::string files_in_words(const run_summary& summary) {
  std::string text = "\nfiles in " + summary.folder.string() + "\n";
  const auto add = [&](const std::string& name, const std::string& meaning) {
    text += printed("  %-26s %s\n", name.c_str(), meaning.c_str());
  };
  add("resolved.toml", "what ran, every default spelled out");
  add("metrics.jsonl", "figures of each step; or: tensorboard --logdir " + summary.folder.string());
  add("trajectories-*.jsonl.zst", "prompts, answers, rewards: zstdcat");
  add("trace.json", "who did what when: open it in ui.perfetto.dev");
  add("log.txt", "what happened, in words");
  if (!summary.last_checkpoint.empty())
    add(summary.last_checkpoint.lexically_relative(summary.folder).string(), "weights, optimizer, place in the data");
  if (!summary.best_checkpoint.empty())
    add(summary.best_checkpoint.lexically_relative(summary.folder).string(),
        "the checkpoint at which run.keep_best stood best: best.json");
  return text;
}

std::string next_in_words(const run_summary& summary) {
  const std::string folder = summary.folder.string();
  std::string text = "\nnext\n";
  if (summary.step < summary.steps && !summary.last_checkpoint.empty())
    text += "  millrace resume " + folder + "\n";
  if (!summary.trained_model.empty())
    text += "  millrace generate " + summary.trained_model.string() + " --prompt \""
            + (summary.example_prompt.empty() ? "..." : summary.example_prompt) + "\"\n";
  return text + "  millrace run " + folder + "/resolved.toml --set run.seed=2\n";
}

} // namespace

std::string in_words(std::span<const role_time> times) {
  std::string text;
  for (const auto& row : times) {
    std::string name = row.role + (row.tracks > 1 ? " (" + std::to_string(row.tracks) + ")" : "");
    text += printed("%s  %-14s", text.empty() ? "time  " : "      ", name.c_str());
    for (const auto& [why, fraction] : row.fractions)
      if (fraction >= 0.0005)
        text += printed("  %s %.1f %%", why.c_str(), 100 * fraction);
    text += "\n";
  }
  return text;
}

std::string in_words(const run_summary& summary) {
  std::string text = summary.name + ": " + summary.outcome + ", " + std::to_string(summary.step) + " of "
                     + std::to_string(summary.steps) + " steps in " + in_time(summary.elapsed_s) + "\n";
  text += rewards_in_words(summary.rewards) + "\n";
  text += evaluations_in_words(summary);
  text += tokens_in_words(summary.ledger);
  text += in_words(std::span{summary.times});
  if (std::isfinite(summary.logprob_gap))
    text += printed("log-probabilities of rollout and learner differ by at most %.1e\n", summary.logprob_gap);
  if (!summary.skipped.empty())
    text += "rows left out: " + listed(summary.skipped) + "\n";
  return text + files_in_words(summary) + next_in_words(summary);
}

} // namespace millrace::telemetry
