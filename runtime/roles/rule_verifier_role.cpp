#include "runtime/roles/rule_verifier_role.hpp"

#include "runtime/columns/answer_columns.hpp"
#include "runtime/columns/column_builder.hpp"
#include "runtime/columns/column_set.hpp"
#include "runtime/columns/prompt_columns.hpp"
#include "runtime/roles/role_kinds.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/enum_words.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <stdexcept>

namespace millrace::roles {

namespace {

/// Why an answer has no score; "" where it has one.
std::string complaint_of(const rules::score& total) {
  if (total.status == rules::score_status::value)
    return {};
  return total.status == rules::score_status::error ? word(total.kind) + ": " + total.reason : total.reason;
}

/// The row that the answers are about, where the columns have it.
std::shared_ptr<const rules::row_context> context_of(const columns::column_set& columns) {
  if (!columns.has(column::prompt) || !columns.has(column::data_source))
    return nullptr;
  return std::make_shared<const rules::row_context>(
      rules::row_context{.prompt = columns::prompt_in(columns),
                         .data_source = columns::data_source_in(columns),
                         .extra_info = columns::extra_info_in(columns),
                         .ground_truth = columns::ground_truth_in(columns)});
}

/// How scoring went, and why the group cannot be used; both without the columns.
/// @param greedy how many answers, counted from the end, are a baseline  @param masks one answer is left out, not all
added_columns outcome_of(const std::vector<rules::rule_set_score>& scores, std::size_t greedy, bool masks) {
  added_columns result;
  auto& went = result.scores;
  std::string whole; // why the group is of no use, whatever the others have
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const rules::score& total = scores[i].total;
    ++went.answers;
    if (total.status == rules::score_status::value)
      continue;
    ++went.lost;
    if (total.status == rules::score_status::error)
      ++went.failures[word(total.kind)];
    if (went.first.empty())
      went.first = complaint_of(total);
    if (whole.empty() && (!masks || total.status == rules::score_status::invalid || i + greedy >= scores.size()))
      whole = complaint_of(total);
  }
  const auto left = went.answers - went.lost - static_cast<std::int64_t>(greedy);
  if (!whole.empty())
    result.complaint = whole;
  else if (went.lost > 0 && left < 2)
    result.complaint = std::to_string(left) + " of its answers have a score, want at least two: " + went.first;
  return result;
}

/// The columns of a group's scores, and sums over all but the `greedy` last answers.
added_columns scored_columns(const rules::rule_set& rules, const std::vector<rules::rule_set_score>& scores,
                             std::size_t greedy, bool masks) {
  auto result = outcome_of(scores, greedy, masks);
  columns::column_builder columns;
  std::vector<std::vector<float>> added; // the builder looks at them until it finishes
  added.reserve(rules.rules().size() + 1);
  const auto add = [&](const auto& column, const auto& score_of) {
    auto& values = added.emplace_back();
    summed sum;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const rules::score& score = score_of(scores[i]);
      const bool said = score.status == rules::score_status::value;
      const bool nothing = score.status == rules::score_status::not_applicable && &score != &scores[i].total;
      values.push_back(said || nothing ? static_cast<float>(score.value) : std::numeric_limits<float>::quiet_NaN());
      if (said && i + greedy < scores.size()) {
        sum.sum += values.back();
        ++sum.count;
      }
    }
    columns.add(column, values);
    result.summary[std::string(column.name)] = sum;
  };
  add(column::reward, [](const rules::rule_set_score& s) -> const rules::score& { return s.total; });
  for (std::size_t r = 0; r < rules.rules().size(); ++r)
    add(column::reward_of(rules.rules()[r].name),
        [r](const rules::rule_set_score& s) -> const rules::score& { return s.by_rule[r]; });
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
  const auto turns = columns::turns_in(columns);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::optional<double> played;
    if (!turns.empty())
      played = std::accumulate(turns.at(i).begin(), turns.at(i).end(), 0.0,
                               [](double sum, const auto& turn) { return sum + turn.reward; });
    question.rows.push_back({.text = std::string(texts[i].begin(), texts[i].end()),
                             .answer = answer,
                             .tokens = lengths[i],
                             .truncated = finish[i] != 0,
                             .row = row,
                             .completion_ids = {ids[i].begin(), ids[i].end()},
                             .environment_reward = played});
  }
  return question;
}

} // namespace

std::shared_ptr<const rules::rule_set> rules_of(std::span<const pipeline::rule_entry> entries) {
  std::vector<rules::weighted_rule> weighted;
  for (const auto& entry : entries)
    weighted.push_back({.name = entry.name,
                        .weight = entry.weight,
                        .scorer = rules::make_rule(entry.type, entry.options),
                        .data_sources = entry.when ? entry.when->data_source.texts : std::vector<std::string>()});
  return std::make_shared<const rules::rule_set>(std::move(weighted));
}

void start(const rules::rule_set& rules, const pipeline::pipeline& p, const std::string& role) {
  std::vector<pipeline::mistake> mistakes;
  for (std::size_t i = 0; i < rules.rules().size(); ++i) {
    const auto& rule = rules.rules()[i];
    if (const auto why = rule.scorer->unusable(); !why.empty())
      mistakes.push_back(
          p.mistake_at("roles." + role + ".rules." + std::to_string(i), "rule " + rule.name + ": " + why));
  }
  if (!mistakes.empty())
    throw pipeline::pipeline_errors(std::move(mistakes));
}

std::function<std::string(const data::row&)> unusable_by(std::vector<std::shared_ptr<const rules::rule_set>> sets) {
  return [sets = std::move(sets)](const data::row& row) {
    for (const auto& rules : sets)
      if (auto why = rules->unreadable(row.answer, row.data_source); !why.empty())
        return why;
    return std::string();
  };
}

rule_verifier_role::rule_verifier_role(const pipeline::rule_verifier_table& table, transport::wanted_columns reads)
    : reads_(std::move(reads)), pool_(rules_of(table.rules), static_cast<std::size_t>(table.workers)),
      deadline_(table.deadline_ms), masks_(table.failed == "mask") {
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
                 auto result = scored_columns(pool_.rules(), scores, greedy, masks_);
                 if (const auto line = details_.add(pool_.rules(), scores, scores.size() - greedy, result.summary);
                     !line.empty())
                   telemetry::log_warning("rules", line);
                 done(std::move(result), {});
               });
}

role_abilities made(const role_setup& setup, const pipeline::rule_verifier_table& table) {
  const auto role = std::make_shared<rule_verifier_role>(table, columns::wanted_by(setup.role()));
  start(role->rules(), *setup.pipeline, setup.who.role); // better than losing group after group
  return {.adds_columns = role};
}

} // namespace millrace::roles
