#include "runtime/telemetry/early_stop.hpp"

#include "runtime/telemetry/printed.hpp"

#include <cmath>
#include <numeric>

namespace millrace::telemetry {
namespace {

std::string last_values(std::int64_t count) {
  return count == 1 ? "the last value" : "the last " + std::to_string(count) + " values";
}

} // namespace

early_stop::early_stop(std::vector<stop_rule> rules) {
  for (auto& rule : rules)
    rules_.push_back({std::move(rule), {}, std::nullopt, 0});
}

std::string early_stop::seen(const metric_row& row) {
  std::string why;
  for (auto& [rule, last, best, since_best] : rules_) {
    const auto value = row.get(rule.metric);
    if (!value || !std::isfinite(*value))
      continue;
    if (rule.patience == 0) {
      last.push_back(*value);
      if (std::ssize(last) > rule.over)
        last.pop_front();
      const double mean = std::accumulate(last.begin(), last.end(), 0.0) / static_cast<double>(last.size());
      if (std::ssize(last) == rule.over && mean > rule.above && why.empty())
        why = rule.metric + " was " + printed("%.4g", mean) + " over " + last_values(rule.over) + ", above "
              + printed("%.4g", rule.above);
      continue;
    }
    const double sign = rule.highest_is_best ? 1 : -1;
    if (!best || sign * (*value - *best) > rule.min_change) {
      best = *value;
      since_best = 0;
    } else if (++since_best >= rule.patience && why.empty()) {
      why = rule.metric + " has not " + (rule.highest_is_best ? "risen above " : "fallen below ")
            + printed("%.4g", *best) + " for " + last_values(rule.patience);
    }
  }
  return why;
}

std::vector<std::string> early_stop::missing_in(const metric_row& row) const {
  std::vector<std::string> names;
  for (const auto& one : rules_)
    if (!one.rule.metric.starts_with(metric::evaluation_prefix) && !row.get(one.rule.metric))
      names.push_back(one.rule.metric);
  return names;
}

} // namespace millrace::telemetry
