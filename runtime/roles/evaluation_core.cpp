#include "runtime/roles/evaluation_core.hpp"

#include "runtime/data/source.hpp"
#include "runtime/model/chat_tokens.hpp"
#include "runtime/roles/group_seed.hpp"
#include "runtime/roles/role_sampling.hpp"
#include "runtime/roles/row_options.hpp"
#include "runtime/roles/rule_verifier_role.hpp"
#include "runtime/rollout/engine.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace millrace::roles {
namespace {

constexpr std::size_t most_skipped = 1000; ///< rows, before the first that fits: made-up prompts never end

std::unique_ptr<data::source> held_out_source(const pipeline::evaluation_table& table, data::on_skip skip) {
  auto options = row_options(table);
  options.seed = static_cast<std::uint64_t>(table.seed);
  options.epochs = 1;
  return rows_of(table, std::move(options), std::move(skip));
}

std::vector<held_out_answer> scored(const held_out_row& row, std::vector<rollout::answer> answers,
                                    const rules::rule_set& rules, double correct_from) {
  std::vector<held_out_answer> results;
  std::vector<rules::rule_input> inputs;
  results.reserve(answers.size()); // the inputs look at the texts
  for (auto& answer : answers) {
    auto& result = results.emplace_back(held_out_answer{&row, std::move(answer.text), {}});
    result.score.tokens = static_cast<std::int64_t>(answer.tokens.size());
    result.score.cut_off = answer.finish == rollout::finish_reason::length;
    inputs.push_back({.text = result.text,
                      .answer = row.answer,
                      .tokens = result.score.tokens,
                      .truncated = result.score.cut_off,
                      .row = &row.about,
                      .completion_ids = answer.tokens});
  }
  const auto found = rules.evaluate_group(inputs);
  for (std::size_t i = 0; i < results.size(); ++i) {
    auto& score = results[i].score;
    for (std::size_t r = 0; r < found[i].by_rule.size(); ++r)
      score.reward += rules.rules()[r].weight * found[i].by_rule[r].value;
    score.unscored = found[i].total.status != rules::score_status::value;
    // The first rule that has something to say of the row decides.
    std::size_t first = 0;
    while (first + 1 < found[i].by_rule.size() && found[i].by_rule[first].status == rules::score_status::not_applicable)
      ++first;
    const auto& decides = found[i].by_rule[first];
    score.correct = decides.status == rules::score_status::value && decides.value >= correct_from;
    score.vote = rules.rules()[first].scorer->statement(inputs[i]);
  }
  return results;
}

} // namespace

evaluation_core::evaluation_core(const pipeline::evaluation_table& table, model::checkpoint words)
    : table_(table), words_(std::move(words)), rules_(rules_of(table.rules)) {
  const auto skip = [this](const std::string& line) {
    if (skipped_++ == 0)
      skipped_first_ = line;
  };
  const auto source = held_out_source(table_, skip);
  model::chat_of(words_); // or nothing can be asked
  const auto longest = std::min(table_.max_prompt_tokens, words_.config.max_positions - 1);
  while (table_.rows == 0 || static_cast<std::int64_t>(rows_.size()) < table_.rows) {
    auto row = source->next();
    if (!row)
      break;
    auto prompt = model::encode_chat(words_, row->prompt);
    if (static_cast<std::int64_t>(prompt.size()) > longest)
      skip(row->where + ": a prompt of " + std::to_string(prompt.size()) + " tokens, want at most "
           + std::to_string(longest));
    else if (const auto why = rules_->unreadable(row->answer, row->data_source); !why.empty())
      skip(row->where + ": " + why);
    else
      rows_.push_back({.prompt = std::move(prompt),
                       .answer = std::move(row->answer),
                       .task = row->data_source,
                       .where = std::move(row->where),
                       .index = rows_.size(),
                       .about = {.prompt = std::move(row->prompt),
                                 .data_source = std::move(row->data_source),
                                 .extra_info = std::move(row->extra),
                                 .ground_truth = std::move(row->ground_truth)}});
    if (rows_.empty() && skipped_ == most_skipped)
      break;
  }
  if (rows_.empty())
    throw input_error(skipped_ > 0 ? "none of the rows can be used, the first: " + skipped_first_
                                   : table_.file.string() + ": found no row, want at least one");
}

evaluation_tally evaluation_core::run(std::shared_ptr<const model::decoder> policy, const on_row& row_done,
                                      std::stop_token stop, const on_answers& answered) const {
  rollout::engine_options options;
  options.slots = static_cast<std::int32_t>(table_.slots);
  options.threads = static_cast<int>(table_.threads);
  options.cached = table_.cache_dtype;
  options.max_context = std::min(words_.config.max_positions, table_.max_prompt_tokens + table_.max_new_tokens);
  rollout::engine engine(std::move(policy), words_.tok, 0, options);
  const auto how = sampling_of(table_, words_.config);
  evaluation_tally tally(table_.answers_per_prompt, table_.pass_at);
  std::size_t next = 0, done = 0;
  while (done < rows_.size() && !stop.stop_requested()) {
    // No more rows than keep every slot busy: each holds its prompt's keys and values.
    for (; next < rows_.size() && engine.waiting_answers() < table_.slots; ++next)
      engine.admit({.group = next,
                    .prompt = rows_[next].prompt,
                    .answers = static_cast<std::int32_t>(table_.answers_per_prompt),
                    .seed = group_seed(static_cast<std::uint64_t>(table_.seed), next),
                    .how = how});
    for (auto& group : engine.step()) {
      const auto& row = rows_[group.group];
      const auto answers = scored(row, std::move(group.answers), *rules_, table_.correct_from);
      std::vector<scored_answer> scores;
      for (const auto& answer : answers)
        scores.push_back(answer.score);
      tally.add(row.task, scores);
      ++done;
      if (answered)
        answered(row, answers);
      if (row_done)
        row_done(done);
    }
  }
  return tally;
}

std::string answers_line(const held_out_row& row, const std::vector<held_out_answer>& answers) {
  nlohmann::json said = nlohmann::json::array();
  for (const auto& a : answers)
    said.push_back({{"text", a.text},
                    {"reward", a.score.reward},
                    {"correct", a.score.correct},
                    {"vote", a.score.vote},
                    {"tokens", a.score.tokens},
                    {"cut_off", a.score.cut_off}});
  const nlohmann::json line{{"row", row.where}, {"task", row.task}, {"answer", row.answer}, {"answers", said}};
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

} // namespace millrace::roles
