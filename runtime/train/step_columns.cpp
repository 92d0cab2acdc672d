#include "runtime/train/step_columns.hpp"

#include "algorithms/group_statistics.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>

namespace millrace::train {
namespace {

[[noreturn]] void refuse(const training_group& group, const std::string& what) {
  throw std::invalid_argument("group " + std::to_string(group.id) + ": " + what);
}

/// One of a group's columns: a vector for each answer, a value for each of its tokens.
template <class T>
void append_tokens(std::vector<T>& out, const training_group& group, const std::vector<std::vector<T>>& column,
                   const char* name) {
  if (column.size() != group.answers.size())
    refuse(group, std::string(name) + " of " + std::to_string(column.size()) + " answers, want "
                      + std::to_string(group.answers.size()));
  for (std::size_t i = 0; i < column.size(); ++i) {
    if (column[i].size() != group.answers[i].size())
      refuse(group, std::string(name) + " of answer " + std::to_string(i) + " has " + std::to_string(column[i].size())
                        + " tokens, want " + std::to_string(group.answers[i].size()));
    for (std::size_t t = 0; t < column[i].size(); ++t) {
      if (!std::isfinite(static_cast<double>(column[i][t])))
        refuse(group, std::string(name) + " of answer " + std::to_string(i) + " is not finite");
      if (group.mask.empty() || group.mask[i][t])
        out.push_back(column[i][t]);
    }
  }
}

/// Which of `age_words` an age is.
std::size_t age_word(std::int64_t age) {
  return age <= 2 ? static_cast<std::size_t>(age) : age <= 4 ? 3 : age <= 8 ? 4 : 5;
}

/// Nothing predicts a segment's first token, so it is not trained.
void check_segments(const training_group& group) {
  if (!group.segments.empty() && group.segments.size() != group.answers.size())
    refuse(group, "segments of " + std::to_string(group.segments.size()) + " answers, want "
                      + std::to_string(group.answers.size()));
  for (std::size_t i = 0; i < group.segments.size(); ++i) {
    model::further_segments(group.answers[i], group.segments[i]);
    for (const auto begin : group.segments[i])
      if (group.mask.empty() || group.mask[i][static_cast<std::size_t>(begin)] != 0)
        refuse(group, "a segment of answer " + std::to_string(i) + " begins with a token that was sampled");
  }
}

void check_mask(const training_group& group) {
  if (group.mask.empty())
    return;
  if (group.mask.size() != group.answers.size())
    refuse(group,
           "mask of " + std::to_string(group.mask.size()) + " answers, want " + std::to_string(group.answers.size()));
  for (std::size_t i = 0; i < group.mask.size(); ++i)
    if (group.mask[i].size() != group.answers[i].size())
      refuse(group, "mask of answer " + std::to_string(i) + " has " + std::to_string(group.mask[i].size())
                        + " tokens, want " + std::to_string(group.answers[i].size()));
}

void check_tokens(const training_group& group, std::span<const std::int32_t> tokens, std::int64_t vocab) {
  for (const std::int32_t token : tokens)
    if (token < 0 || token >= vocab)
      refuse(group, "token " + std::to_string(token) + ", want 0 to " + std::to_string(vocab - 1));
}

void check_count(const training_group& group, const std::vector<float>& column, const char* name) {
  if (column.size() != group.answers.size())
    refuse(group, std::string(name) + " of " + std::to_string(column.size()) + " answers, want "
                      + std::to_string(group.answers.size()));
}

void check_finite(const training_group& group, float value, const char* name, std::size_t answer) {
  if (!std::isfinite(value))
    refuse(group, std::string(name) + " of answer " + std::to_string(answer) + " is not finite");
}

/// Grows by one group after another. A column that any group has, all must have.
class column_gatherer {
public:
  column_gatherer(std::span<const training_group> groups, std::int64_t vocab)
      : vocab_(vocab), with_reference_(any_has(groups, &training_group::ref_logprob)),
        with_value_(any_has(groups, &training_group::value)),
        with_baseline_(any_has(groups, &training_group::baseline)), with_age_(any_has(groups, &training_group::trains)),
        with_domain_(any_has(groups, &training_group::domain)), with_turns_(any_has(groups, &training_group::turns)) {}

  void add(const training_group& group) {
    if (group.prompt.empty())
      refuse(group, "an empty prompt");
    check_mask(group);
    check_segments(group);
    check_tokens(group, group.prompt, vocab_);
    add_answers(group);
    add_tokens(group);
    const auto next = static_cast<std::int64_t>(domains_.size());
    domain_.insert(domain_.end(), group.answers.size(), domains_.emplace(group.domain, next).first->second);
    ++groups_;
  }

  step_batch take() const {
    const std::vector<std::int64_t> version(version_.begin(), version_.end());
    step_batch out;
    auto& columns = out.columns;
    columns.reward = at::tensor(reward_, at::kDouble);
    columns.group = at::tensor(group_, at::kLong);
    columns.length = at::tensor(length_, at::kLong);
    columns.behaviour_logprob = at::tensor(behaviour_, at::kFloat);
    if (with_reference_)
      columns.ref_logprob = at::tensor(reference_, at::kFloat);
    if (with_value_)
      columns.value = at::tensor(value_, at::kFloat);
    if (with_domain_)
      columns.domain = at::tensor(domain_, at::kLong);
    if (with_baseline_)
      columns.baseline = at::tensor(baseline_, at::kDouble);
    auto& answers = out.answers;
    answers.behaviour_logprob = columns.behaviour_logprob;
    answers.ref_logprob = columns.ref_logprob;
    answers.length = columns.length;
    answers.reward = columns.reward;
    answers.group = columns.group;
    answers.group_tokens = at::tensor(group_tokens_, at::kLong);
    answers.version = at::tensor(version, at::kLong);
    if (with_age_)
      answers.trains = at::tensor(trains_, at::kByte).to(at::kBool);
    out.totals = totals_;
    if (with_turns_)
      out.turns = {.answer = at::tensor(turn_answer_, at::kLong),
                   .length = at::tensor(turn_length_, at::kLong),
                   .reward = at::tensor(turn_reward_, at::kDouble)};
    return out;
  }

private:
  template <class Column>
  static bool any_has(std::span<const training_group> groups, Column column) {
    return std::any_of(groups.begin(), groups.end(), [&](const auto& g) { return !(g.*column).empty(); });
  }

  void add_answers(const training_group& group) {
    check_count(group, group.reward, "reward");
    if (with_baseline_)
      check_count(group, group.baseline, "baseline");
    std::int64_t tokens = 0;
    for (std::size_t i = 0; i < group.answers.size(); ++i) {
      check_tokens(group, group.answers[i], vocab_);
      check_finite(group, group.reward[i], "reward", i);
      reward_.push_back(group.reward[i]);
      if (with_baseline_) {
        check_finite(group, group.baseline[i], "baseline", i);
        baseline_.push_back(group.baseline[i]);
      }
      add_turns(group, i);
      group_.push_back(groups_);
      length_.push_back(trained_tokens(group, i));
      tokens += length_.back();
      totals_.answers += length_.back() > 0;
    }
    group_tokens_.insert(group_tokens_.end(), group.answers.size(), tokens);
    totals_.tokens += tokens;
    totals_.groups += tokens > 0;
  }

  /// An answer without turns has one.
  void add_turns(const training_group& group, std::size_t i) {
    if (!with_turns_)
      return;
    std::vector<written_turn> turns = group.turns.empty() ? std::vector<written_turn>() : group.turns.at(i);
    if (turns.empty())
      turns.push_back({.tokens = trained_tokens(group, i)});
    std::int64_t tokens = 0;
    for (const auto& turn : turns) {
      turn_answer_.push_back(static_cast<std::int64_t>(group_.size()));
      turn_length_.push_back(turn.tokens);
      turn_reward_.push_back(turn.reward);
      tokens += turn.tokens;
    }
    if (tokens != trained_tokens(group, i))
      refuse(group, "turns of answer " + std::to_string(i) + " have " + std::to_string(tokens) + " tokens, want "
                        + std::to_string(trained_tokens(group, i)));
  }

  void add_tokens(const training_group& group) {
    append_tokens(behaviour_, group, group.behaviour_logprob, "logprob");
    append_tokens(version_, group, group.version, "version");
    if (with_reference_)
      append_tokens(reference_, group, group.ref_logprob, "ref_logprob");
    if (with_value_)
      append_tokens(value_, group, group.value, "value");
    if (with_age_ && !group.trains.empty())
      append_tokens(trains_, group, group.trains, "trains");
    else if (with_age_)
      trains_.resize(behaviour_.size(), 1);
  }

  std::int64_t vocab_;
  bool with_reference_, with_value_, with_baseline_, with_age_, with_domain_, with_turns_;
  std::int64_t groups_ = 0;
  std::vector<double> reward_, baseline_, turn_reward_;
  std::vector<std::int64_t> turn_answer_, turn_length_;
  std::vector<std::int64_t> group_, length_, group_tokens_, domain_;
  std::vector<float> behaviour_, reference_, value_;
  std::vector<std::uint8_t> trains_;
  std::vector<std::uint32_t> version_;
  std::map<std::string, std::int64_t> domains_; ///< numbered in the order of their appearance
  algorithms::step_totals totals_;
};

bool is_finite(const std::vector<float>& column) {
  return std::all_of(column.begin(), column.end(), [](float x) { return std::isfinite(x); });
}

bool is_finite(const std::vector<std::vector<float>>& column) {
  return std::all_of(column.begin(), column.end(), [](const auto& answer) { return is_finite(answer); });
}

bool is_finite(const training_group& group) {
  return is_finite(group.reward) && is_finite(group.baseline) && is_finite(group.behaviour_logprob)
         && is_finite(group.ref_logprob) && is_finite(group.value);
}

/// How old the trained tokens are: versions between the one that sampled them and `version`.
void describe_ages(step_report& report, std::span<const training_group> groups, std::uint32_t version) {
  std::int64_t sum = 0;
  for (const auto& group : groups)
    for (std::size_t i = 0; i < group.answers.size(); ++i) {
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
}

} // namespace

finite_groups::finite_groups(std::span<const training_group> given) : given_(given) {
  for (const auto& group : given)
    if (!is_finite(group))
      left_out_.push_back(group.id);
  if (!left_out_.empty())
    std::copy_if(given.begin(), given.end(), std::back_inserter(kept_), [](const auto& g) { return is_finite(g); });
}

step_batch gather_columns(std::span<const training_group> groups, std::int64_t vocab) {
  if (groups.empty())
    throw std::invalid_argument("a training step without groups");
  column_gatherer gatherer(groups, vocab);
  for (const auto& group : groups)
    gatherer.add(group);
  return gatherer.take();
}

namespace {

using algorithms::answer_columns;

/// @param of_tokens,of_answers what becomes of a column [N], and of a column [A]
template <class OfTokens, class OfAnswers>
answer_columns columns_by(const answer_columns& step, const OfTokens& of_tokens, const OfAnswers& of_answers) {
  static constexpr at::Tensor answer_columns::*by_token[] = {
      &answer_columns::old_logprob, &answer_columns::behaviour_logprob, &answer_columns::ref_logprob,
      &answer_columns::advantage,   &answer_columns::version,           &answer_columns::trains,
      &answer_columns::step_weight};
  static constexpr at::Tensor answer_columns::*by_answer[] = {&answer_columns::length, &answer_columns::reward,
                                                              &answer_columns::group, &answer_columns::group_tokens};
  answer_columns out;
  for (const auto column : by_token)
    if (const at::Tensor& whole = step.*column; whole.defined())
      out.*column = of_tokens(whole);
  for (const auto column : by_answer)
    out.*column = of_answers(step.*column);
  out.policy_version = step.policy_version;
  return out;
}

} // namespace

answer_columns slice(const answer_columns& step, const micro_batch& batch, at::Device device) {
  return columns_by(
      step, [&](const at::Tensor& whole) { return whole.narrow(0, batch.first_token, batch.tokens).to(device); },
      [&](const at::Tensor& whole) { return whole.narrow(0, batch.first_answer, batch.answers).to(device); });
}

answer_columns selected(const answer_columns& step, const at::Tensor& tokens, const at::Tensor& answers) {
  return columns_by(
      step, [&](const at::Tensor& whole) { return whole.index_select(0, tokens); },
      [&](const at::Tensor& whole) { return whole.index_select(0, answers); });
}

namespace {

/// Tokens of an answer: as the rollout made it, though a mask has emptied it since.
std::int64_t length_of(const training_group& group, std::size_t answer) {
  if (!group.answers[answer].empty() || group.sampled.size() <= answer)
    return trained_tokens(group, answer);
  std::int64_t tokens = 0;
  for (const auto& run : group.sampled[answer])
    tokens += run.tokens;
  return tokens;
}

} // namespace

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
    for (std::size_t i = 0; i < group.answers.size(); ++i) {
      const auto tokens = length_of(group, i);
      report.sampled_tokens += tokens;
      report.longest_answer = std::max(report.longest_answer, tokens);
    }
    report.prompt_tokens += static_cast<std::int64_t>(group.prompt.size());
    report.turns += group.turns_written;
    report.segments += group.segments_written;
    report.observed_tokens += group.observed_tokens;
    report.zero_variance_groups +=
        std::all_of(group.reward.begin(), group.reward.end(), [&](float r) { return r == group.reward.front(); });
  }
  describe_ages(report, groups, version);
  return report;
}

} // namespace millrace::train
