#include "runtime/report/predicted_run.hpp"

#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/report/gantt.hpp"
#include "runtime/report/recorded_costs.hpp"
#include "runtime/schedule/virtual_time.hpp"
#include "runtime/telemetry/time_table.hpp"
#include "runtime/words/cores.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <map>

namespace millrace::report {
namespace {

/// When the run began to decode, and when its last update ended: the time that the model is about.
std::pair<double, double> worked(const recorded_run& run) {
  double first = run.end_s, last = 0;
  for (const auto& span : run.spans) {
    if (span.name == "decode")
      first = std::min(first, span.start_s);
    if (span.name.starts_with("train step "))
      last = std::max(last, span.start_s + span.duration_s);
  }
  return {first, last};
}

/// Share of [from, until] in which the tracks of a role compute, the mean over its tracks.
double compute_share(const recorded_run& run, const std::vector<std::string>& roles, double from, double until) {
  std::map<std::string, std::vector<telemetry::span>> tracks;
  for (const auto& span : run.spans)
    if (std::find(roles.begin(), roles.end(), telemetry::role_of(span.track)) != roles.end())
      tracks[span.track].push_back(span);
  double seconds = 0;
  for (auto& [name, spans] : tracks)
    for (const auto& stretch : stretches_of(std::move(spans)))
      if (stretch.cause == telemetry::cause::compute)
        seconds += std::max(0.0, std::min(stretch.end_s, until) - std::max(stretch.begin_s, from));
  return tracks.empty() || until <= from ? 0 : seconds / (until - from) / static_cast<double>(tracks.size());
}

void compare(const recorded_run& run, const pipeline::pipeline& p, predicted_run& out) {
  auto shape = pipeline::workload_of(p);
  shape.layout_contention = pipeline::layout_contention(p, cores_here());
  auto [costs, notes] = costs_of(run, shape);
  out.notes = std::move(notes);
  auto settings = pipeline::schedule_of(p);
  settings.steps = static_cast<std::uint32_t>(run.metrics.size());
  const auto told = schedule::simulate(settings, costs);
  std::vector<schedule::trained_step> measured;
  double before = 0, stale = 0, tokens = 0;
  for (const auto& row : run.metrics) {
    const auto total = row.get(telemetry::metric::tokens).value_or(before);
    measured.push_back({row.wall_s, static_cast<std::int64_t>(total - before)});
    stale += (total - before) * row.get(telemetry::metric::staleness_mean).value_or(0);
    tokens += total - before;
    before = total;
  }
  const auto is = schedule::pace_of(measured), said = schedule::pace_of(told.trained);
  const auto [from, until] = worked(run);
  std::vector<std::string> rollouts;
  for (const auto* role : p.of<pipeline::rollout_table>())
    rollouts.push_back(role->name);
  const auto& ledger = run.status.ledger;
  const auto wasted = [](double generated, double trained) {
    return generated > 0 ? 100 * (1 - trained / generated) : 0;
  };
  out.figures = {
      {"seconds a step", is.step_s, said.step_s},
      {"trained tokens a second", is.tokens_per_s, said.tokens_per_s},
      {"staleness at use, mean (versions)", tokens > 0 ? stale / tokens : 0, told.stale.mean_by_token()},
      {"tokens generated in vain (%)",
       wasted(static_cast<double>(ledger.generated), static_cast<double>(ledger.trained + ledger.live)),
       wasted(static_cast<double>(told.books.generated), static_cast<double>(told.books.trained.tokens))},
      {"bubble of " + p.policy().name + " (% of its time)",
       100 * (1 - compute_share(run, {p.policy().name}, from, until)),
       100 * (1 - told.learner_busy_s / std::max(1e-9, told.trained.back().end_s))},
      {"bubble of " + (rollouts.size() == 1 ? rollouts.front() : std::string("the rollouts")) + " (% of its time)",
       100 * (1 - compute_share(run, rollouts, from, until)),
       100 * (1 - told.decoding_s / std::max(1e-9, told.trained.back().end_s) / costs.workers)},
  };
  for (std::size_t i = 0; i < measured.size(); ++i)
    out.step_ends.emplace_back(static_cast<double>(run.metrics[i].step), measured[i].end_s - measured.front().end_s);
  for (std::size_t i = 0; i < told.trained.size(); ++i)
    out.told_step_ends.emplace_back(static_cast<double>(i + 1), told.trained[i].end_s - told.trained.front().end_s);
}

} // namespace

predicted_run predict(const recorded_run& run) {
  predicted_run out;
  try {
    if (run.session_starts.size() > 1)
      throw input_error("the run was resumed: its times are those of several lives");
    if (run.metrics.size() < 3)
      throw input_error("fewer than three steps were trained");
    compare(run, pipeline::read_pipeline(run.folder / "resolved.toml"), out);
  } catch (const input_error& why) {
    out = {};
    const std::string text = why.what();
    out.refusal = text.substr(0, text.find('\n'));
  }
  return out;
}

} // namespace millrace::report
