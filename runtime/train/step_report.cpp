#include "runtime/train/step_report.hpp"

#include "algorithms/diagnostic_fields.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace millrace::train {
namespace {

using json = nlohmann::json;

template <class Report, class Visit>
requires std::is_same_v<std::remove_const_t<Report>, age_report>

void each_field(Report& r, Visit&& visit) {
  visit("tokens", r.tokens);
  visit("answers", r.answers);
  visit("reward", r.reward);
}

template <class Report, class Visit>
requires std::is_same_v<std::remove_const_t<Report>, step_report>

void each_field(Report& r, Visit&& visit) {
  visit("result", r.result);
  visit("reason", r.reason);
  visit("culprits", r.culprits);
  visit("unusable", r.unusable);
  visit("updates", r.updates);
  visit("stopped_on_kl", r.stopped_on_kl);
  visit("loss", r.loss);
  visit("reward_mean", r.reward_mean);
  visit("reward_deviation", r.reward_deviation);
  visit("gradient_norm", r.gradient_norm);
  visit("kl_coefficient", r.kl_coefficient);
  visit("learning_rate", r.learning_rate);
  visit("groups", r.groups);
  visit("answers", r.answers);
  visit("zero_variance_groups", r.zero_variance_groups);
  visit("answer_tokens", r.answer_tokens);
  visit("turns", r.turns);
  visit("segments", r.segments);
  visit("observed_tokens", r.observed_tokens);
  visit("sampled_tokens", r.sampled_tokens);
  visit("longest_answer", r.longest_answer);
  visit("prompt_tokens", r.prompt_tokens);
  visit("fed_tokens", r.fed_tokens);
  visit("micro_batches", r.micro_batches);
  visit("memory_ran_out", r.memory_ran_out);
  visit("flat_tokens_left_out", r.flat_tokens_left_out);
  visit("staleness_mean", r.staleness_mean);
  visit("staleness_max", r.staleness_max);
  visit("stale_tokens", r.stale_tokens);
  visit("seen", r.seen);
  visit("logprob_mismatch", r.logprob_mismatch);
  visit("mismatch_sum", r.mismatch_sum);
  visit("mismatch_tokens", r.mismatch_tokens);
  visit("pairs", r.pairs);
  visit("pairs_right", r.pairs_right);
  visit("text_loss", r.text_loss);
  visit("by_age", r.by_age);
  visit("forward_s", r.forward_s);
  visit("backward_s", r.backward_s);
  visit("optimizer_s", r.optimizer_s);
  visit("total_s", r.total_s);
}

template <class T>
json written(const T& value) {
  if constexpr (requires { each_field(value, [](const char*, const auto&) {}); }) {
    json object = json::object();
    each_field(value, [&](const char* name, const auto& field) { object[name] = written(field); });
    return object;
  } else if constexpr (requires { std::tuple_size<T>::value; }) {
    json array = json::array();
    for (const auto& one : value)
      array.push_back(written(one));
    return array;
  } else if constexpr (std::is_enum_v<T>) {
    return static_cast<int>(value);
  } else {
    return value;
  }
}

template <class T>
void read(const json& from, T& value) {
  if constexpr (requires { each_field(value, [](const char*, auto&) {}); })
    each_field(value, [&](const char* name, auto& field) { read(from.at(name), field); });
  else if constexpr (requires { std::tuple_size<T>::value; })
    for (std::size_t i = 0; i < value.size(); ++i)
      read(from.at(i), value[i]);
  else if constexpr (std::is_enum_v<T>)
    value = static_cast<T>(from.get<int>());
  else
    value = from.get<T>();
}

double weighted(double a, double of_a, double b, double of_b) {
  return of_a + of_b > 0 ? (a * of_a + b * of_b) / (of_a + of_b) : 0;
}

} // namespace

age_report& age_report::operator+=(const age_report& other) {
  tokens += other.tokens;
  answers += other.answers;
  reward += other.reward;
  return *this;
}

step_report& step_report::operator+=(const step_report& next) {
  const auto reals = [](std::int64_t n) { return static_cast<double>(n); };
  if (result != next.result)
    result = outcome::applied;
  if (!next.reason.empty())
    reason += (reason.empty() ? "" : "; ") + next.reason;
  culprits.insert(culprits.end(), next.culprits.begin(), next.culprits.end());
  unusable.insert(unusable.end(), next.unusable.begin(), next.unusable.end());
  loss = weighted(loss, reals(updates), next.loss, reals(next.updates));
  if (next.updates > 0) {
    gradient_norm = next.gradient_norm;
    learning_rate = next.learning_rate;
  }
  kl_coefficient = next.kl_coefficient;
  const double mean = weighted(reward_mean, reals(answers), next.reward_mean, reals(next.answers));
  const auto spread = [&](double of, double around) { return of * of + (around - mean) * (around - mean); };
  reward_deviation = std::sqrt(weighted(spread(reward_deviation, reward_mean), reals(answers),
                                        spread(next.reward_deviation, next.reward_mean), reals(next.answers)));
  reward_mean = mean;
  staleness_mean = weighted(staleness_mean, reals(stale_tokens), next.staleness_mean, reals(next.stale_tokens));
  staleness_max = std::max(staleness_max, next.staleness_max);
  stale_tokens += next.stale_tokens;
  updates += next.updates;
  stopped_on_kl = stopped_on_kl || next.stopped_on_kl;
  groups += next.groups;
  answers += next.answers;
  zero_variance_groups += next.zero_variance_groups;
  answer_tokens += next.answer_tokens;
  turns += next.turns;
  segments += next.segments;
  observed_tokens += next.observed_tokens;
  sampled_tokens += next.sampled_tokens;
  longest_answer = std::max(longest_answer, next.longest_answer);
  prompt_tokens += next.prompt_tokens;
  fed_tokens += next.fed_tokens;
  micro_batches += next.micro_batches;
  memory_ran_out += next.memory_ran_out;
  flat_tokens_left_out += next.flat_tokens_left_out;
  seen += next.seen;
  logprob_mismatch = std::max(logprob_mismatch, next.logprob_mismatch);
  mismatch_sum += next.mismatch_sum;
  mismatch_tokens += next.mismatch_tokens;
  pairs += next.pairs;
  pairs_right += next.pairs_right;
  if (next.text_loss >= 0)
    text_loss = next.text_loss;
  for (std::size_t i = 0; i < by_age.size(); ++i)
    by_age[i] += next.by_age[i];
  forward_s += next.forward_s;
  backward_s += next.backward_s;
  optimizer_s += next.optimizer_s;
  total_s += next.total_s;
  return *this;
}

std::string to_json(const step_report& report) {
  return written(report).dump();
}

step_report step_report_from(std::string_view text) {
  const auto object = formats::parse_json(text, "report of a step");
  try {
    step_report report;
    read(object, report);
    return report;
  } catch (const json::exception& error) {
    throw input_error(std::string("report of a step: ") + error.what());
  }
}

} // namespace millrace::train
