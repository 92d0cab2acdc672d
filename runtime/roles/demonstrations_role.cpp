#include "runtime/roles/demonstrations_role.hpp"

#include "runtime/columns/column_builder.hpp"
#include "runtime/roles/role_kinds.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/roles/rollout_requests.hpp"
#include "runtime/roles/thread_answer.hpp"
#include "runtime/telemetry/in_flight.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>

namespace millrace::roles {
namespace {

/// Writes one conversation piece by piece.
class conversation {
public:
  conversation(const model::checkpoint& words, const std::vector<chat_turn>& prompt)
      : words_(words), chat_(model::chat_of(words)), turns_(prompt) {
    open();
  }

  /// The text up to the opening of the assistant's turn, as tokens.
  std::vector<std::int32_t> prompt() const { return words_.tok->encode(written_); }

  /// Goes on with turns that begin and end with the assistant's.
  demonstrated_answer go_on(const std::vector<chat_turn>& turns) {
    demonstrated_answer answer;
    for (std::size_t i = 0; i < turns.size(); ++i) {
      turns_.push_back(turns[i]);
      if (turns[i].role != "assistant")
        continue;
      if (i > 0) {
        const std::string before = written_;
        turns_.pop_back();
        open();
        turns_.push_back(turns[i]);
        append(answer, written_.substr(before.size()), 0);
      }
      append_turn(answer);
    }
    answer.text = words_.tok->decode(answer.tokens, text::specials::skip);
    return answer;
  }

private:
  /// Writes up to where the assistant's next turn begins.
  void open() { take(chat_.render(turns_, text::opening::assistant)); }

  void take(std::string text) {
    if (!text.starts_with(written_))
      throw input_error(
          "the chat template rewrites earlier turns when another turn follows, so the answer's tokens would change; "
          "want train_on = \"last\", or conversations of one answer");
    written_ = std::move(text);
  }

  /// The turn just added, up to the token that ends it; what the template writes behind belongs to the next piece.
  void append_turn(demonstrated_answer& answer) {
    const std::string before = written_;
    take(chat_.render(turns_, text::opening::none));
    const auto tokens = words_.tok->encode(std::string_view(written_).substr(before.size()));
    const auto& ends = words_.config.eos_ids;
    const auto last = std::find_if(tokens.rbegin(), tokens.rend(), [&](std::int32_t t) {
      return std::find(ends.begin(), ends.end(), t) != ends.end();
    });
    const auto kept = last == tokens.rend() ? tokens.end() : last.base();
    std::size_t bytes = 0;
    for (auto token = tokens.begin(); token != kept; ++token)
      bytes += words_.tok->bytes(*token).size();
    answer.tokens.insert(answer.tokens.end(), tokens.begin(), kept);
    answer.mask.resize(answer.tokens.size(), 1);
    written_.resize(before.size() + std::min(bytes, written_.size() - before.size()));
  }

  void append(demonstrated_answer& answer, std::string_view text, std::uint8_t mask) {
    const auto tokens = words_.tok->encode(text);
    answer.tokens.insert(answer.tokens.end(), tokens.begin(), tokens.end());
    answer.mask.resize(answer.tokens.size(), mask);
  }

  const model::checkpoint& words_;
  const text::chat_template& chat_;
  std::vector<chat_turn> turns_;
  std::string written_;
};

/// Moves all but the last of the assistant's turns into the prompt.
void keep_last_turn(std::vector<chat_turn>& prompt, std::vector<std::vector<chat_turn>>& answers) {
  const std::vector<chat_turn> earlier(answers.front().begin(), answers.front().end() - 1);
  for (auto& turns : answers) {
    if (std::vector<chat_turn>(turns.begin(), turns.end() - 1) != earlier)
      throw input_error(
          "found two answers to one prompt that differ before their last turn, want train_on = \"every\"");
    turns.erase(turns.begin(), turns.end() - 1);
  }
  prompt.insert(prompt.end(), earlier.begin(), earlier.end());
}

std::vector<std::vector<chat_turn>> answers_of(const pipeline::demonstrations_table& table,
                                               const columns::prompt_content& row) {
  auto answers = row.demonstrations;
  if (table.form == "preference") {
    if (answers.size() != 2)
      throw input_error("found a row without a preference, want chosen and rejected");
  } else if (answers.empty()) {
    throw input_error("found a row without a demonstration, want messages, a completion or chosen");
  } else {
    answers.resize(1);
  }
  return answers;
}

/// What the role reads of a row.
columns::prompt_content demonstration_row(const columns::column_set& columns) {
  return {.prompt = columns::prompt_in(columns),
          .answer = {},
          .data_source = {},
          .demonstrations = columns::demonstrations_in(columns),
          .margin = columns::margin_in(columns)};
}

} // namespace

demonstrated_group write_demonstrations(const model::checkpoint& words, const pipeline::demonstrations_table& table,
                                        std::int64_t max_prompt_tokens, const columns::prompt_content& row) {
  auto answers = answers_of(table, row);
  auto prompt = row.prompt;
  if (table.train_on == "last")
    keep_last_turn(prompt, answers);
  demonstrated_group group;
  group.margin = row.margin;
  const conversation start(words, prompt);
  group.prompt = start.prompt();
  for (const auto& turns : answers)
    group.answers.push_back(conversation(start).go_on(turns));
  const auto refuse = [](const char* what, std::size_t tokens, const std::string& want) {
    throw input_error(std::string(what) + " of " + std::to_string(tokens) + " tokens, want at most " + want);
  };
  if (static_cast<std::int64_t>(group.prompt.size()) > max_prompt_tokens)
    refuse("a prompt", group.prompt.size(), "max_prompt_tokens = " + std::to_string(max_prompt_tokens));
  for (const auto& answer : group.answers) {
    const auto tokens = static_cast<std::int64_t>(answer.tokens.size());
    if (tokens > table.max_answer_tokens)
      refuse("an answer", answer.tokens.size(), "max_answer_tokens = " + std::to_string(table.max_answer_tokens));
    if (static_cast<std::int64_t>(group.prompt.size()) + tokens > words.config.max_positions)
      refuse("a prompt with its answer", group.prompt.size() + answer.tokens.size(),
             "the model's context of " + std::to_string(words.config.max_positions));
  }
  return group;
}

transport::bundle columns_of(const demonstrated_group& group, std::uint32_t version) {
  std::vector<std::int32_t> tokens, lengths, text_lengths;
  std::vector<std::uint8_t> mask;
  std::vector<float> reward;
  std::string text;
  for (const auto& answer : group.answers) {
    tokens.insert(tokens.end(), answer.tokens.begin(), answer.tokens.end());
    mask.insert(mask.end(), answer.mask.begin(), answer.mask.end());
    lengths.push_back(static_cast<std::int32_t>(answer.tokens.size()));
    text += answer.text;
    text_lengths.push_back(static_cast<std::int32_t>(answer.text.size()));
    reward.push_back(!reward.empty() ? 0.0f : group.margin > 0 ? static_cast<float>(group.margin) : 1.0f);
  }
  const std::vector<float> logprob(tokens.size(), 0);
  const std::vector<std::uint32_t> versions(tokens.size(), version);
  const std::vector<std::uint8_t> finish(group.answers.size(), 0);
  return columns::column_builder()
      .add(column::prompt_tokens, group.prompt)
      .add(column::tokens, tokens)
      .add(column::mask, mask)
      .add(column::logprob, logprob)
      .add(column::version, versions)
      .add(column::lengths, lengths)
      .add(column::finish, finish)
      .add(column::text, text)
      .add(column::text_lengths, text_lengths)
      .add(column::reward, reward)
      .finish();
}

// -- the role --------------------------------------------------------------------------------------------------------

struct demonstrations_role::state {
  role_setup setup;
  pipeline::demonstrations_table table;
  model::checkpoint words; ///< tokenizer, template and shape; no weights
  telemetry::in_flight_groups in_flight;

  group_accepted answer(const generate_group& ask, std::uint32_t version, const columns::column_set& row) const;
};

demonstrations_role::demonstrations_role(const role_setup& setup, const pipeline::demonstrations_table& table)
    : state_(std::make_shared<const state>(state{.setup = setup,
                                                 .table = table,
                                                 .words = load_text_model(*setup.pipeline, table.model),
                                                 .in_flight = telemetry::in_flight_groups(setup.who.name())})),
      thread_(std::make_unique<job_thread>()) {
}

void demonstrations_role::generate(const generate_group& ask, std::shared_ptr<environment>,
                                   answer_to<group_accepted> done) {
  const telemetry::in_flight_guard open(state_->in_flight, {ask.group, ask.attempt});
  const auto& setup = state_->setup;
  // The handler holds nothing that owns the data plane, on whose thread it ends.
  columns::pull_columns(*setup.data, std::span(&ask.columns, 1), columns::wanted_by(setup.role()), setup.deadline(),
                        [ask, done = std::move(done), open, version = version_, weak_state = std::weak_ptr(state_),
                         post = thread_->weak_poster()](columns::column_set row, std::string error) {
                          if (!error.empty()) {
                            done({.group = ask.group, .prompt_tokens = 0, .lost = std::move(error)}, {});
                            return;
                          }
                          post([ask, done, open, version, weak_state, row = std::move(row)] {
                            if (const auto self = weak_state.lock())
                              answer_now<group_accepted>(done, [&] { return self->answer(ask, version, row); });
                          });
                        });
}

group_accepted demonstrations_role::state::answer(const generate_group& ask, std::uint32_t version,
                                                  const columns::column_set& row) const {
  const auto group = write_demonstrations(words, table, longest_prompt(*setup.pipeline), demonstration_row(row));
  std::int64_t tokens = 0;
  for (const auto& answer : group.answers)
    tokens += static_cast<std::int64_t>(answer.tokens.size());
  setup.events.generated({.from = setup.who,
                          .group = ask.group,
                          .attempt = ask.attempt,
                          .columns = setup.data->publish(columns_of(group, version)),
                          .tokens = {{version, tokens}}});
  return {.group = ask.group, .prompt_tokens = static_cast<std::int64_t>(group.prompt.size())};
}

void demonstrations_role::take(const new_weights& ask, answer_to<weights_live> done) {
  version_ = std::max(version_, ask.version);
  done({.version = version_}, {});
}

role_abilities made(const role_setup& setup, const pipeline::demonstrations_table& table) {
  const auto role = std::make_shared<demonstrations_role>(setup, table);
  const auto& schedule = setup.pipeline->schedule;
  const double ahead = std::min(schedule.gate.depth, 1000.0);
  return {.generates = role,
          .takes_weights = role,
          .places = static_cast<std::uint32_t>(static_cast<double>(schedule.groups_per_step) * (ahead + 1))};
}

} // namespace millrace::roles
