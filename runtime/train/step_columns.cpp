#include "runtime/train/step_columns.hpp"

#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>

namespace millrace::train {
namespace {

[[noreturn]] void refuse(const training_group& group, const std::string& what) {
  throw std::invalid_argument("group " + std::to_string(group.id) + ": " + what);
}

/// One of a group's columns: a vector for each answer, a value for each of its tokens.
template <class T>
void append_tokens(std::vector<T>& out, const training_group& group, const std::vector<std::vector<T>>& column, const char* name) {
  if (column.size() != group.answers.size())
    refuse(group, std::string(name) + " of " + std::to_string(column.size()) + " answers, want " + std::to_string(group.answers.size()));
  for (std::size_t i = 0; i < column.size(); ++i) {
    if (column[i].size() != group.answers[i].size())
      refuse(group, std::string(name) + " of answer " + std::to_string(i) + " has " + std::to_string(column[i].size()) +
                        " tokens, want " + std::to_string(group.answers[i].size()));
    for (std::size_t t = 0; t < column[i].size(); ++t) {
      if (!std::isfinite(static_cast<double>(column[i][t])))
        refuse(group, std::string(name) + " of answer " + std::to_string(i) + " is not finite");
      if (group.mask.empty() || group.mask[i][t])
        out.push_back(column[i][t]);
    }
  }
}

/// Which of `age_words` an age is.
std::size_t age_word(std::int64_t age) { return age <= 2 ? static_cast<std::size_t>(age) : age <= 4 ? 3 : age <= 8 ? 4 : 5; }

void check_mask(const training_group& group) {
  if (group.mask.empty())
    return;
  if (group.mask.size() != group.answers.size())
    refuse(group, "mask of " + std::to_string(group.mask.size()) + " answers, want " + std::to_string(group.answers.size()));
  for (std::size_t i = 0; i < group.mask.size(); ++i)
    if (group.mask[i].size() != group.answers[i].size())
      refuse(group, "mask of answer " + std::to_string(i) + " has " + std::to_string(group.mask[i].size()) + " tokens, want " +
                        std::to_string(group.answers[i].size()));
}

void check_tokens(const training_group& group, std::span<const std::int32_t> tokens, std::int64_t vocab) {
  for (const std::int32_t token : tokens)
    if (token < 0 || token >= vocab)
      refuse(group, "token " + std::to_string(token) + ", want 0 to " + std::to_string(vocab - 1));
}

} // namespace

std::vector<std::size_t> finite_groups(std::span<const training_group> groups) {
  const auto finite = [](const std::vector<float>& column) {
    return std::all_of(column.begin(), column.end(), [](float x) { return std::isfinite(x); });
  };
  const auto all_finite = [&](const std::vector<std::vector<float>>& column) { return std::all_of(column.begin(), column.end(), finite); };
  std::vector<std::size_t> out;
  for (std::size_t g = 0; g < groups.size(); ++g)
    if (finite(groups[g].reward) && finite(groups[g].baseline) && all_finite(groups[g].behaviour_logprob) &&
        all_finite(groups[g].ref_logprob) && all_finite(groups[g].value))
      out.push_back(g);
  return out;
}

step_batch gather_columns(std::span<const training_group> groups, std::int64_t vocab) {
  if (groups.empty())
    throw std::invalid_argument("a training step without groups");
  const auto any_has = [&](auto column) { return std::any_of(groups.begin(), groups.end(), [&](const auto& g) { return !(g.*column).empty(); }); };
  const bool with_reference = any_has(&training_group::ref_logprob), with_value = any_has(&training_group::value),
             with_baseline = any_has(&training_group::baseline), with_age = any_has(&training_group::trains),
             with_domain = any_has(&training_group::domain);
  std::vector<double> reward, baseline;
  std::vector<std::int64_t> group_of, length, group_tokens, version;
  std::vector<float> behaviour, reference, value;
  std::vector<std::uint8_t> trains;
  std::vector<std::int64_t> domain;
  std::map<std::string, std::int64_t> domains; ///< in the order of their appearance
  std::vector<std::uint32_t> stamped;
  step_batch out;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const training_group& group = groups[g];
    if (group.prompt.empty())
      refuse(group, "an empty prompt");
    check_mask(group);
    check_tokens(group, group.prompt, vocab);
    if (group.reward.size() != group.answers.size())
      refuse(group, "reward of " + std::to_string(group.reward.size()) + " answers, want " + std::to_string(group.answers.size()));
    if (with_baseline && group.baseline.size() != group.answers.size())
      refuse(group, "baseline of " + std::to_string(group.baseline.size()) + " answers, want " + std::to_string(group.answers.size()));
    for (std::size_t i = 0; i < group.answers.size(); ++i) {
      check_tokens(group, group.answers[i], vocab);
      if (!std::isfinite(group.reward[i]))
        refuse(group, "reward of answer " + std::to_string(i) + " is not finite");
      reward.push_back(group.reward[i]);
      if (with_baseline) {
        if (!std::isfinite(group.baseline[i]))
          refuse(group, "baseline of answer " + std::to_string(i) + " is not finite");
        baseline.push_back(group.baseline[i]);
      }
      group_of.push_back(static_cast<std::int64_t>(g));
      length.push_back(trained_tokens(group, i));
      out.totals.tokens += length.back();
      out.totals.answers += length.back() > 0;
    }
    const std::int64_t tokens = std::accumulate(length.end() - static_cast<std::ptrdiff_t>(group.answers.size()), length.end(), std::int64_t{0});
    group_tokens.insert(group_tokens.end(), group.answers.size(), tokens);
    out.totals.groups += tokens > 0;
    append_tokens(behaviour, group, group.behaviour_logprob, "logprob");
    append_tokens(stamped, group, group.version, "version");
    if (with_reference)
      append_tokens(reference, group, group.ref_logprob, "ref_logprob");
    if (with_value)
      append_tokens(value, group, group.value, "value");
    if (with_age && !group.trains.empty())
      append_tokens(trains, group, group.trains, "trains");
    else if (with_age)
      trains.resize(behaviour.size(), 1);
    domain.insert(domain.end(), group.answers.size(), domains.emplace(group.domain, static_cast<std::int64_t>(domains.size())).first->second);
  }
  version.assign(stamped.begin(), stamped.end());
  out.columns.reward = at::tensor(reward, at::kDouble);
  out.columns.group = at::tensor(group_of, at::kLong);
  out.columns.length = at::tensor(length, at::kLong);
  out.group_tokens = at::tensor(group_tokens, at::kLong);
  out.columns.behaviour_logprob = at::tensor(behaviour, at::kFloat);
  if (with_reference)
    out.columns.ref_logprob = at::tensor(reference, at::kFloat);
  if (with_value)
    out.columns.value = at::tensor(value, at::kFloat);
  if (with_domain)
    out.columns.domain = at::tensor(domain, at::kLong);
  if (with_age)
    out.trains = at::tensor(trains, at::kByte).to(at::kBool);
  if (with_baseline)
    out.columns.baseline = at::tensor(baseline, at::kDouble);
  out.version = at::tensor(version, at::kLong);
  return out;
}

step_report describe(std::span<const training_group> groups, const step_batch& batch, std::uint32_t version) {
  step_report report;
  report.groups = static_cast<std::int64_t>(groups.size());
  report.answers = batch.columns.length.numel();
  report.answer_tokens = batch.totals.tokens;
  const at::Tensor& reward = batch.columns.reward;
  if (reward.numel() > 0) {
    report.reward_mean = reward.mean().item<double>();
    report.reward_deviation = reward.std(0, false).item<double>();
  }
  for (const auto& group : groups) {
    report.prompt_tokens += static_cast<std::int64_t>(group.prompt.size());
    report.zero_variance_groups += std::all_of(group.reward.begin(), group.reward.end(), [&](float r) { return r == group.reward.front(); });
  }
  std::int64_t sum = 0;
  for (const auto& group : groups)
    for (std::size_t i = 0; i < group.answers.size(); ++i) {
      report.longest_answer = std::max(report.longest_answer, static_cast<std::int64_t>(group.answers[i].size()));
      std::int64_t oldest = -1;
      for (std::size_t t = 0; t < group.answers[i].size(); ++t) {
        if ((!group.mask.empty() && !group.mask[i][t]) || (!group.trains.empty() && !group.trains[i][t]))
          continue;
        const auto age = std::max<std::int64_t>(std::int64_t{version} - group.version[i][t], 0);
        oldest = std::max(oldest, age);
        sum += age;
        ++report.stale_tokens;
        ++report.by_age[age_word(age)].tokens;
      }
      if (oldest < 0)
        continue;
      auto& of_age = report.by_age[age_word(oldest)];
      ++of_age.answers;
      of_age.reward += group.reward[i];
      report.staleness_max = std::max(report.staleness_max, static_cast<std::uint32_t>(oldest));
    }
  if (report.stale_tokens > 0)
    report.staleness_mean = static_cast<double>(sum) / static_cast<double>(report.stale_tokens);
  return report;
}

} // namespace millrace::train
