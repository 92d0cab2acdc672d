#include "actors/rule_verifier.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace millrace::actors {

std::shared_ptr<const rules::rule_set> rules_of(std::span<const pipeline::rule_entry> entries) {
  std::vector<rules::weighted_rule> weighted;
  for (const auto& entry : entries) {
    rules::option_map options;
    for (const auto& [name, value] : entry.options)
      options.emplace(name, value);
    weighted.push_back({entry.name, entry.weight, rules::make_rule(entry.type, options)});
  }
  return std::make_shared<const rules::rule_set>(std::move(weighted));
}

namespace {

/// Of the first `count` values: greedy answers stand behind the others and are not those of the policy.
double mean(const std::vector<float>& values, std::size_t count) {
  return count == 0 ? 0
                    : std::accumulate(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count), 0.0) / static_cast<double>(count);
}

/// The columns of a group's scores, and means over all but the `greedy` last answers.
stage_result to_columns(const rules::rule_set& rules, const std::vector<rules::rule_set_score>& scores, std::size_t greedy) {
  stage_result result;
  std::vector<float> reward;
  std::vector<std::vector<float>> by_rule(rules.rules().size());
  double errors = 0;
  for (const auto& score : scores) {
    if (score.total.status == rules::score_status::invalid && result.complaint.empty())
      result.complaint = score.total.reason;
    double total = 0;
    for (std::size_t r = 0; r < by_rule.size(); ++r) {
      by_rule[r].push_back(static_cast<float>(score.by_rule[r].value));
      total += rules.rules()[r].weight * score.by_rule[r].value;
    }
    errors += score.total.status == rules::score_status::error;
    reward.push_back(static_cast<float>(total));
  }
  transport::bundle_builder columns;
  columns.add("reward", std::span<const float>(reward));
  result.summary["reward"] = mean(reward, reward.size() - greedy);
  result.summary["verifier/errors"] = errors;
  for (std::size_t r = 0; r < by_rule.size(); ++r) {
    const std::string name = "reward." + rules.rules()[r].name;
    columns.add(name, std::span<const float>(by_rule[r]));
    result.summary[name] = mean(by_rule[r], by_rule[r].size() - greedy);
  }
  result.added = columns.finish();
  return result;
}

} // namespace

rule_verifier::rule_verifier(const pipeline::rule_verifier_table& table)
    : pool_(rules_of(table.rules), static_cast<std::size_t>(table.workers)), deadline_(table.deadline_ms) {}

void rule_verifier::process(const process_group& group, column_set columns, std::function<void(stage_result)> done) {
  std::vector<rules::verifier_row> rows;
  std::size_t greedy = 0;
  try {
    const auto texts = by_answer(columns.view<char>("text"), columns.view<std::int32_t>("text_lengths"));
    const auto lengths = columns.view<std::int32_t>("lengths");
    const auto finish = columns.view<std::uint8_t>("finish");
    if (lengths.size() != texts.size() || finish.size() != texts.size())
      throw std::invalid_argument("columns 'text_lengths', 'lengths' and 'finish' have " + std::to_string(texts.size()) + ", "
                                  + std::to_string(lengths.size()) + " and " + std::to_string(finish.size()) + " entries");
    if (columns.has("greedy")) {
      const auto which = columns.view<std::uint8_t>("greedy");
      greedy = static_cast<std::size_t>(std::count(which.begin(), which.end(), std::uint8_t{1}));
    }
    for (std::size_t i = 0; i < texts.size(); ++i)
      rows.push_back({std::string(texts[i].begin(), texts[i].end()), group.answer, lengths[i], finish[i] != 0});
  } catch (const std::exception& error) {
    done({{}, {}, {}, error.what()});
    return;
  }
  pool_.submit(std::move(rows), deadline_, [this, greedy, done = std::move(done)](std::vector<rules::rule_set_score> scores) {
    done(to_columns(pool_.rules(), scores, greedy));
  });
}

} // namespace millrace::actors
