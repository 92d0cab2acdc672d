#include "runtime/report/run_figures.hpp"

#include "runtime/report/frame.hpp"
#include "runtime/telemetry/progress.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace millrace::report {
namespace {

using telemetry::metric_row;
constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

double mean_of(std::span<const metric_row> rows, std::string_view name) {
  double sum = 0;
  std::int64_t count = 0;
  for (const auto& row : rows)
    if (const auto value = row.get(name); value && std::isfinite(*value)) {
      sum += *value;
      ++count;
    }
  return count ? sum / static_cast<double>(count) : unknown;
}

double largest_of(std::span<const metric_row> rows, std::string_view name) {
  double largest = unknown;
  for (const auto& row : rows)
    if (const auto value = row.get(name); value && !(*value <= largest))
      largest = *value;
  return largest;
}

std::string percent(double share) {
  return std::isfinite(share) ? in_figures(100 * share) + " %" : "–";
}

key_figure number(std::string name, double value, int digits = 3) {
  return {std::move(name), in_figures(value, digits), value};
}

} // namespace

std::vector<key_figure> key_figures(const recorded_run& run) {
  const std::span rows(run.metrics);
  const auto first = rows.first(std::min<std::size_t>(rows.size(), 5));
  const auto last = rows.last(std::min<std::size_t>(rows.size(), 10));
  const double seconds = run.status.elapsed_s, steps = static_cast<double>(rows.size());
  double tokens = 0, longest = 0;
  for (const auto& answer : run.answers) {
    tokens += static_cast<double>(answer.tokens);
    longest = std::max(longest, static_cast<double>(answer.tokens));
  }
  const auto& ledger = run.status.ledger;
  const double generated = static_cast<double>(ledger.generated);
  namespace m = telemetry::metric;
  const auto dropped = static_cast<double>(ledger.dropped_total());
  return {
      {"state", run.status.state, unknown},
      {"steps", std::to_string(run.status.step) + " of " + std::to_string(run.status.steps),
       static_cast<double>(run.status.step)},
      {"time", telemetry::in_time(seconds), seconds},
      number("steps an hour", seconds > 0 ? steps * 3600 / seconds : unknown),
      number("seconds a step, mean", mean_of(rows, m::time_per_step)),
      number("tokens trained a second", seconds > 0 ? static_cast<double>(ledger.trained) / seconds : unknown),
      number("reward, first 5 steps", mean_of(first, m::reward)),
      number("reward, last 10 steps", mean_of(last, m::reward)),
      number("staleness, mean (versions)", mean_of(rows, m::staleness_mean)),
      number("staleness, largest", largest_of(rows, m::staleness_max)),
      number("answer length, mean (tokens)", mean_of(rows, m::length_mean)),
      number("KL behaviour to current, mean (nats)", mean_of(rows, m::policy_kl)),
      number("tokens generated", generated, 6),
      number("tokens trained", static_cast<double>(ledger.trained), 6),
      {"tokens dropped", in_figures(dropped, 6) + " (" + percent(generated > 0 ? dropped / generated : unknown) + ")",
       dropped},
      {"ledger", ledger.closes() ? "closes" : "does not close", unknown},
  };
}

std::vector<telemetry::role_time> times_of(const recorded_run& run) {
  auto spans = run.spans;
  std::stable_sort(spans.begin(), spans.end(),
                   [](const auto& a, const auto& b) { return a.start_s + a.duration_s < b.start_s + b.duration_s; });
  telemetry::time_table table;
  table.add(spans);
  return table.rows(run.end_s);
}

std::map<std::int64_t, std::int64_t> tokens_by_staleness(const recorded_run& run) {
  std::map<std::int64_t, std::int64_t> tokens;
  for (const auto& answer : run.answers)
    tokens[answer.staleness()] += answer.tokens;
  return tokens;
}

std::string staleness_bucket(std::int64_t staleness) {
  if (staleness <= 2)
    return std::to_string(staleness);
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  std::int64_t low = 3, high = 4;
  while (staleness > high) {
    low = high + 1;
    high = high > most / 2 ? most : 2 * high;
  }
  return std::to_string(low) + "-" + std::to_string(high);
}

std::vector<std::pair<std::string, double>> reward_by_staleness(const recorded_run& run) {
  std::map<std::int64_t, std::pair<std::string, std::pair<double, std::int64_t>>> buckets; // by their lowest staleness
  for (const auto& answer : run.answers) {
    if (std::isnan(answer.reward))
      continue;
    const std::string name = staleness_bucket(answer.staleness());
    auto& [word, sum] = buckets[std::stoll(name)];
    word = name;
    sum.first += answer.reward;
    ++sum.second;
  }
  std::vector<std::pair<std::string, double>> out;
  for (const auto& [low, bucket] : buckets)
    out.emplace_back(bucket.first, bucket.second.first / static_cast<double>(bucket.second.second));
  return out;
}

} // namespace millrace::report
