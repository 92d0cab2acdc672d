#include "runtime/roles/rule_verifier_role.hpp"

#include "runtime/columns/column_builder.hpp"
#include "runtime/columns/column_set.hpp"
#include "runtime/columns/prompt_columns.hpp"
#include "runtime/roles/role_kinds.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace millrace::roles {

namespace {

/// The mean of the first `count` values. The greedy answers stand at the end, and the policy's figures leave them out.
double mean(const std::vector<float>& values, std::size_t count) {
  return count == 0 ? 0
                    : std::accumulate(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count), 0.0)
                          / static_cast<double>(count);
}

/// Why an answer has no score; "" where it has one.
std::string complaint_of(const rules::score& total) {
  if (total.status == rules::score_status::value)
    return {};
  return total.status == rules::score_status::error ? std::string(name_of(total.kind)) + ": " + total.reason
                                                    : total.reason;
}

/// The row that the answers are about, where the columns have it.
std::shared_ptr<const rules::row_context> context_of(const columns::column_set& columns) {
  if (!columns.has(column::prompt) || !columns.has(column::data_source))
    return nullptr;
  return std::make_shared<const rules::row_context>(rules::row_context{.prompt = columns::prompt_in(columns),
                                                                       .data_source = columns::data_source_in(columns),
                                                                       .extra_info = columns::extra_info_in(columns)});
}

/// The columns of a group's scores, and means over all but the `greedy` last answers.
added_columns scored_columns(const rules::rule_set& rules, const std::vector<rules::rule_set_score>& scores,
                             std::size_t greedy) {
  added_columns result;
  std::vector<float> reward;
  std::vector<std::vector<float>> by_rule(rules.rules().size());
  for (const auto& score : scores) {
    if (result.complaint.empty())
      result.complaint = complaint_of(score.total);
    for (std::size_t r = 0; r < by_rule.size(); ++r)
      by_rule[r].push_back(static_cast<float>(score.by_rule[r].value));
    reward.push_back(static_cast<float>(score.total.value));
  }
  columns::column_builder columns;
  columns.add(column::reward, reward);
  result.summary[std::string(column::reward.name)] = mean(reward, reward.size() - greedy);
  for (std::size_t r = 0; r < by_rule.size(); ++r) {
    const auto part = column::reward_of(rules.rules()[r].name);
    columns.add(part, by_rule[r]);
    result.summary[part.name] = mean(by_rule[r], by_rule[r].size() - greedy);
  }
  result.columns = columns.finish();
  return result;
}

/// One question to the rules: the rows of a group.
struct verifier_question {
  std::vector<rules::verifier_row> rows;
  std::size_t greedy = 0; ///< how many answers, counted from the end, are greedy
};

/// @throws std::exception for columns that no rollout writes
verifier_question question_of(const columns::column_set& columns) {
  const auto texts = columns::by_answer(columns.view(column::text), columns.view(column::text_lengths));
  const auto lengths = columns.view(column::lengths);
  const auto finish = columns.view(column::finish);
  if (lengths.size() != texts.size() || finish.size() != texts.size())
    throw std::invalid_argument("columns 'text_lengths', 'lengths' and 'finish' have " + std::to_string(texts.size())
                                + ", " + std::to_string(lengths.size()) + " and " + std::to_string(finish.size())
                                + " entries");
  verifier_question question;
  if (columns.has(column::greedy)) {
    const auto which = columns.view(column::greedy);
    question.greedy = static_cast<std::size_t>(std::count(which.begin(), which.end(), std::uint8_t{1}));
  }
  const auto answer = columns::answer_in(columns);
  const auto row = context_of(columns);
  std::vector<std::span<const std::int32_t>> ids(texts.size());
  if (row && columns.has(column::tokens))
    ids = columns::by_answer(columns.view(column::tokens), lengths);
  for (std::size_t i = 0; i < texts.size(); ++i)
    question.rows.push_back({.text = std::string(texts[i].begin(), texts[i].end()),
                             .answer = answer,
                             .tokens = lengths[i],
                             .truncated = finish[i] != 0,
                             .row = row,
                             .completion_ids = {ids[i].begin(), ids[i].end()}});
  return question;
}

} // namespace

std::shared_ptr<const rules::rule_set> rules_of(std::span<const pipeline::rule_entry> entries) {
  std::vector<rules::weighted_rule> weighted;
  for (const auto& entry : entries)
    weighted.push_back({entry.name, entry.weight, rules::make_rule(entry.type, entry.options)});
  return std::make_shared<const rules::rule_set>(std::move(weighted));
}

rule_verifier_role::rule_verifier_role(const pipeline::rule_verifier_table& table, transport::wanted_columns reads)
    : reads_(std::move(reads)), pool_(rules_of(table.rules), static_cast<std::size_t>(table.workers)),
      deadline_(table.deadline_ms) {
  if (const std::string why = pool_.rules().unusable(); !why.empty())
    throw input_error("rule " + why);
}

void rule_verifier_role::add(const process_group&, columns::column_set columns, answer_to<added_columns> done) {
  verifier_question question;
  try {
    question = question_of(columns);
  } catch (const std::exception& error) {
    done({}, error.what());
    return;
  }
  pool_.submit(std::move(question.rows), deadline_,
               [this, greedy = question.greedy, done = std::move(done)](std::vector<rules::rule_set_score> scores) {
                 done(scored_columns(pool_.rules(), scores, greedy), {});
               });
}

role_abilities made(const role_setup& setup, const pipeline::rule_verifier_table& table) {
  return {.adds_columns = std::make_shared<rule_verifier_role>(table, columns::wanted_by(setup.role()))};
}

} // namespace millrace::roles
