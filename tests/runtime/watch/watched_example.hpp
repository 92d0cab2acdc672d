#pragma once

#include "runtime/telemetry/metrics.hpp"
#include "runtime/telemetry/run_status.hpp"
#include "runtime/telemetry/trajectories.hpp"
#include "tests/support/temporary_folder.hpp"

#include <unistd.h>

#include <filesystem>
#include <string>

namespace millrace::tests {

inline const std::string hostile_text = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&";

inline void append_step(const std::filesystem::path& folder, int step) {
  telemetry::metrics_file metrics(folder / "metrics.jsonl", step - 1);
  telemetry::metric_row row;
  row.step = step;
  for (const auto name : {metric::reward, metric::reward_std, metric::loss, metric::entropy, metric::policy_kl,
                          metric::length_mean, metric::staleness_mean, metric::time_per_step, metric::version})
    row.set(name, 0.25 * step);
  row.set(metric::rule_reward("number"), 0.5);
  row.set(metric::of_age("0", "tokens"), 30);
  row.set(metric::of_age("3-4", "tokens"), 10);
  metrics.append(row);
}

/// A run's folder as its writers leave it after two steps, in which everything that can be a text is hostile.
inline void write_watched_run(const std::filesystem::path& folder) {
  write_file(folder / "resolved.toml", R"([run]
name = "example"
steps = 10
[models.tiny]
path = ")" + std::filesystem::absolute("tests/golden/models/tiny-chat").string()
                                           + R"("
[roles.prompts]
kind = "source"
generator = { type = "arithmetic" }
[roles.rollout]
kind = "rollout"
from = ["prompts"]
model = "tiny"
[roles.rules]
kind = "rule_verifier"
from = ["rollout"]
rules = [ { type = "number" } ]
[roles.learner]
kind = "policy"
from = ["rules"]
model = "tiny"
publishes_to = ["rollout"]
[schedule]
preset = "synchronous"
groups_per_step = 2
)");
  telemetry::run_status status;
  status.name = "example";
  status.state = "running";
  status.pid = ::getpid();
  status.step = 2;
  status.steps = 10;
  status.roles = {{"rollout/0", ::getpid(), "", hostile_text}};
  status.lanes = {{.to = "rollout/0",
                   .from = "learner",
                   .lane = "tcp/lo, large ones mapped",
                   .bytes_pulled = 50,
                   .bytes_mapped = 20}};
  status.waits = {{.who = "learner", .what = hostile_text, .on = {"rollout/0"}, .since_s = -70, .deadline_s = 60}};
  status.ledger = {1000, 900, 20, {{"stale\"\\", 80}}};
  status.tokens_per_s = 321;
  status.groups = {{"queued", 3}, {"ready", 1}};
  telemetry::write_status(folder / "status.json", status);
  append_step(folder, 1);
  append_step(folder, 2);
  write_file(folder / "log.txt", "     1.000 info    run          fine\n     2.000 warning rules        " + hostile_text
                                     + "\n     3.000 error   run          broken\n     4.000 warn");
  telemetry::trajectory_file told(folder / "trajectories-1.jsonl.zst", 1);
  telemetry::trajectory row;
  row.group = 7;
  row.step = 2;
  row.prompt = "a? " + hostile_text;
  row.ground_truth = hostile_text;
  row.answers = {{hostile_text, 10, 1, {{hostile_text, 0.5}}, "stop", 0, 1}, {"c", 30, 0, {}, "length", 1, 1}};
  told.append(row);
  row.group = 8;
  told.append(row);
  told.flush();
  row.answers[0].shown = {.text = {hostile_text.substr(0, 8), hostile_text.substr(8), "</s>"},
                          .logprob = {-0.01f, -2.0f, -4.0f},
                          .policy_logprob = {-0.01f, -1.5f, -4.0f},
                          .version = {1, 0, 1}};
  write_file(folder / "newest_groups.jsonl", telemetry::to_line(row));
}

} // namespace millrace::tests
