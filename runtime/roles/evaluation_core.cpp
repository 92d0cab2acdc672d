#include "runtime/roles/evaluation_core.hpp"

#include "runtime/data/source.hpp"
#include "runtime/model/chat_tokens.hpp"
#include "runtime/roles/environment_role.hpp"
#include "runtime/roles/evaluation_episodes.hpp"
#include "runtime/roles/group_seed.hpp"
#include "runtime/roles/role_sampling.hpp"
#include "runtime/roles/rollout_requests.hpp"
#include "runtime/roles/row_options.hpp"
#include "runtime/roles/rule_verifier_role.hpp"
#include "runtime/rollout/answer_end.hpp"
#include "runtime/rollout/engine.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <span>

namespace millrace::roles {
namespace {

constexpr std::size_t most_skipped = 1000; ///< rows, before the first that fits: made-up prompts never end

std::unique_ptr<data::source> held_out_source(const pipeline::evaluation_table& table, data::on_skip skip) {
  auto options = row_options(table);
  options.seed = static_cast<std::uint64_t>(table.seed);
  options.epochs = 1;
  return rows_of(table, std::move(options), std::move(skip));
}

/// The first rule that has something to say of the row: it decides.
std::size_t deciding_rule(const rules::rule_set_score& found) {
  std::size_t first = 0;
  while (first + 1 < found.by_rule.size() && found.by_rule[first].status == rules::score_status::not_applicable)
    ++first;
  return first;
}

/// What a rule reads of an answer. @param text stays where it is
rules::rule_input input_of(const held_out_row& row, const std::string& text, const rollout::answer& answer) {
  rules::rule_input input{.text = text,
                          .answer = row.answer,
                          .tokens = std::ssize(answer.tokens),
                          .truncated = answer.finish == rollout::finish_reason::length,
                          .row = &row.about,
                          .completion_ids = answer.tokens};
  if (!answer.turns.empty())
    input.environment_reward =
        std::accumulate(answer.turns.begin(), answer.turns.end(), 0.0,
                        [](double sum, const rollout::answer_turn& turn) { return sum + turn.reward; });
  return input;
}

std::vector<held_out_answer> scored(const held_out_row& row, const std::vector<rollout::answer>& answers,
                                    const rules::rule_set& rules, double correct_from) {
  std::vector<held_out_answer> results;
  std::vector<rules::rule_input> inputs;
  results.reserve(answers.size()); // the inputs look at the texts
  for (const auto& answer : answers) {
    auto& result = results.emplace_back(held_out_answer{&row, answer.text, {}});
    result.score.tokens = rollout::sampled_tokens(answer);
    result.score.cut_off = answer.finish == rollout::finish_reason::length;
    result.score.turns = std::ssize(answer.turns);
    result.score.observed = std::ssize(answer.tokens) - result.score.tokens;
    inputs.push_back(input_of(row, result.text, answer));
  }
  const auto found = rules.evaluate_group(inputs);
  for (std::size_t i = 0; i < results.size(); ++i) {
    auto& score = results[i].score;
    for (std::size_t r = 0; r < found[i].by_rule.size(); ++r)
      score.reward += rules.rules()[r].weight * found[i].by_rule[r].value;
    score.unscored = found[i].total.status != rules::score_status::value;
    const auto first = deciding_rule(found[i]);
    const auto& decides = found[i].by_rule[first];
    score.correct = decides.status == rules::score_status::value && decides.value >= correct_from;
    score.vote = rules.rules()[first].scorer->statement(inputs[i]);
  }
  return results;
}

/// The answers as they would be if they were cut off after `budget` tokens.
std::vector<rollout::answer> cut_at(std::int64_t budget, const std::vector<rollout::answer>& answers,
                                    const rollout::sampling& how, const text::tokenizer* tok) {
  auto cut = answers;
  for (auto& answer : cut) {
    if (std::ssize(answer.tokens) <= budget)
      continue;
    answer.tokens.resize(static_cast<std::size_t>(budget));
    answer.finish = rollout::finish_reason::length;
    answer.text = rollout::text_of_answer(answer.tokens, answer.finish, how, tok);
  }
  return cut;
}

} // namespace

evaluation_player player_of(const pipeline::evaluation_table& table, const pipeline::pipeline& p) {
  if (table.environment.empty())
    return {};
  auto environment = std::get<pipeline::environment_table>(p.at(table.environment).options);
  return {.plays = started(environment, p, table.environment), .table = environment};
}

evaluation_core::evaluation_core(const pipeline::evaluation_table& table, model::checkpoint words,
                                 evaluation_player player)
    : table_(table), words_(std::move(words)), player_(std::move(player)), rules_(rules_of(table.rules)) {
  const auto skip = [this](const std::string& line) {
    if (skipped_++ == 0)
      skipped_first_ = line;
  };
  const auto source = held_out_source(table_, skip);
  model::chat_of(words_); // or nothing can be asked
  const auto longest = longest_prompt();
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

std::int64_t evaluation_core::longest_prompt() const {
  return std::min(table_.max_prompt_tokens, words_.config.max_positions - 1);
}

/// One time through the rows.
struct evaluation_core::running {
  running(const evaluation_core& core, std::shared_ptr<const model::decoder> policy)
      : self(core), how(sampling_of(core.table_, core.words_.config)),
        engine(std::move(policy), core.words_.tok, 0, options_of(core)),
        tally(core.table_.answers_per_prompt, core.table_.pass_at, core.table_.budgets) {
    if (core.player_.plays)
      episodes.emplace(*core.player_.plays, core.player_.table, model::chat_of(core.words_).leaves_thoughts_out());
  }

  static rollout::engine_options options_of(const evaluation_core& core);
  bool has_room() const;
  void begin(std::size_t row);
  void admit(std::size_t row, std::vector<std::int32_t> prompt);
  void hear(const std::stop_token& stop);
  std::vector<held_out_answer> scored_row(const held_out_row& row, const std::vector<rollout::answer>& answers) const;
  void finish(std::size_t row, const std::vector<held_out_answer>& answers);
  void fail(std::size_t row);

  const evaluation_core& self;
  rollout::sampling how;
  rollout::engine engine;
  evaluation_tally tally;
  std::optional<evaluation_episodes> episodes;
  std::size_t done = 0;
  const on_row* row_done = nullptr;
  const on_answers* answered = nullptr;
};

rollout::engine_options evaluation_core::running::options_of(const evaluation_core& core) {
  rollout::engine_options options;
  options.slots = static_cast<std::int32_t>(core.table_.slots);
  options.threads = static_cast<int>(core.table_.threads);
  options.cached = core.table_.cache_dtype;
  options.max_context =
      std::min(core.words_.config.max_positions, core.table_.max_prompt_tokens + core.table_.max_new_tokens);
  return options;
}

/// No more rows than keep every slot busy: each holds its prompt's keys and values.
bool evaluation_core::running::has_room() const {
  if (!episodes)
    return engine.waiting_answers() < self.table_.slots;
  return static_cast<std::int64_t>(episodes->open()) * self.table_.answers_per_prompt < 2 * self.table_.slots;
}

void evaluation_core::running::begin(std::size_t row) {
  const auto& about = self.rows_[row];
  if (!episodes)
    return admit(row, about.prompt);
  episodes->begin(row,
                  {.prompt = about.about.prompt,
                   .answer = about.answer,
                   .ground_truth = about.about.ground_truth,
                   .data_source = about.about.data_source,
                   .extra_info = about.about.extra_info},
                  static_cast<std::int32_t>(self.table_.answers_per_prompt),
                  group_seed(static_cast<std::uint64_t>(self.table_.seed), row));
}

void evaluation_core::running::admit(std::size_t row, std::vector<std::int32_t> prompt) {
  engine.admit({.group = row,
                .prompt = std::move(prompt),
                .answers = static_cast<std::int32_t>(self.table_.answers_per_prompt),
                .seed = group_seed(static_cast<std::uint64_t>(self.table_.seed), row),
                .how = how,
                .episodes = episodes.has_value()});
}

/// Takes what the environment said; waits for it where there is nothing else to do.
void evaluation_core::running::hear(const std::stop_token& stop) {
  const auto came = episodes->arrived(engine.waits(), stop);
  for (const auto& opened : came.opened) {
    auto prompt = opened.error.empty() ? model::encode_chat(self.words_, opened.begins.prompt, opened.begins.tools)
                                       : std::vector<std::int32_t>();
    if (prompt.empty() || std::ssize(prompt) > self.longest_prompt())
      fail(opened.group);
    else
      admit(opened.group, std::move(prompt));
  }
  for (const auto& reply : came.replies) {
    if (!reply.error.empty()) {
      if (engine.cancel(reply.turn.group))
        fail(reply.turn.group);
      continue;
    }
    engine.go_on(reply.turn.group, reply.turn.answer,
                 reply_in_tokens(self.words_, reply.turn, reply.said, episodes->tools(reply.turn.group)));
  }
}

std::vector<held_out_answer> evaluation_core::running::scored_row(const held_out_row& row,
                                                                  const std::vector<rollout::answer>& answers) const {
  auto results = scored(row, answers, *self.rules_, self.table_.correct_from);
  for (const auto budget : self.table_.budgets) {
    const auto cut =
        scored(row, cut_at(budget, answers, how, self.words_.tok.get()), *self.rules_, self.table_.correct_from);
    for (std::size_t i = 0; i < results.size(); ++i) {
      results[i].score.correct_at.push_back(cut[i].score.correct);
      results[i].score.unscored = results[i].score.unscored || cut[i].score.unscored;
    }
  }
  return results;
}

void evaluation_core::running::finish(std::size_t row, const std::vector<held_out_answer>& answers) {
  std::vector<scored_answer> scores;
  for (const auto& answer : answers)
    scores.push_back(answer.score);
  tally.add(self.rows_[row].task, scores);
  if (episodes)
    episodes->end(row);
  ++done;
  if (*answered)
    (*answered)(self.rows_[row], answers);
  if (*row_done)
    (*row_done)(done);
}

void evaluation_core::running::fail(std::size_t row) {
  const held_out_answer unknown{
      .row = &self.rows_[row],
      .text = {},
      .score = {.unscored = true, .correct_at = std::vector<std::uint8_t>(self.table_.budgets.size())}};
  finish(row, std::vector(static_cast<std::size_t>(self.table_.answers_per_prompt), unknown));
}

evaluation_tally evaluation_core::run(std::shared_ptr<const model::decoder> policy, const on_row& row_done,
                                      std::stop_token stop, const on_answers& answered) const {
  running now(*this, std::move(policy));
  now.row_done = &row_done;
  now.answered = &answered;
  std::size_t next = 0;
  while (now.done < rows_.size() && !stop.stop_requested()) {
    for (; next < rows_.size() && now.has_room(); ++next)
      now.begin(next);
    if (now.episodes)
      now.hear(stop);
    if (now.engine.waits())
      continue;
    auto finished = now.engine.step();
    if (now.episodes)
      for (const auto& turn : now.engine.last_turns())
        now.episodes->take(turn, !now.episodes->tools(turn.group).empty() ? model::chat_of(words_).calls_in(turn.text)
                                                                          : called_turn());
    for (auto& group : finished)
      now.finish(group.group, now.scored_row(rows_[group.group], group.answers));
  }
  return std::move(now.tally);
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
