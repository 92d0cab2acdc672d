#include "actors/demonstrations.hpp"

#include "actors/errors.hpp"
#include "actors/rollout_requests.hpp"
#include "runtime/input_error.hpp"
#include "runtime/telemetry/holdings.hpp"

#include <algorithm>

namespace millrace::actors {
namespace {

/// Writes one conversation piece by piece.
class conversation {
public:
  conversation(const model::checkpoint& words, const std::vector<chat_turn>& prompt)
      : words_(words), chat_(model::chat_of(words)) {
    for (const auto& turn : prompt)
      turns_.push_back({turn.role, turn.content});
    open();
  }

  /// The text up to the opening of the assistant's turn, as tokens.
  std::vector<std::int32_t> prompt() const { return words_.tok->encode(written_); }

  /// Goes on with turns that begin and end with the assistant's.
  demonstrated_answer go_on(const std::vector<chat_turn>& turns) {
    demonstrated_answer answer;
    for (std::size_t i = 0; i < turns.size(); ++i) {
      turns_.push_back({turns[i].role, turns[i].content});
      if (turns[i].role != "assistant")
        continue;
      if (i > 0) {
        const std::string before = written_;
        turns_.pop_back();
        open();
        turns_.push_back({turns[i].role, turns[i].content});
        append(answer, written_.substr(before.size()), 0);
      }
      append_turn(answer);
    }
    answer.text = words_.tok->decode(answer.tokens, true);
    return answer;
  }

private:
  /// Writes up to where the assistant's next turn begins.
  void open() { take(chat_.render(turns_, true)); }

  void take(std::string text) {
    if (!text.starts_with(written_))
      throw input_error("the chat template writes earlier turns anew when a turn follows, so there is nothing to go on from; "
                        "want train_on = \"last\", or conversations of one answer");
    written_ = std::move(text);
  }

  /// The turn just added, up to the token that ends it; what the template writes behind belongs to the next piece.
  void append_turn(demonstrated_answer& answer) {
    const std::string before = written_;
    take(chat_.render(turns_, false));
    const auto tokens = words_.tok->encode(std::string_view(written_).substr(before.size()));
    const auto& ends = words_.config.eos_ids;
    const auto last = std::find_if(tokens.rbegin(), tokens.rend(), [&](std::int32_t t) { return std::find(ends.begin(), ends.end(), t) != ends.end(); });
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
  const model::chat_template& chat_;
  std::vector<model::message> turns_;
  std::string written_;
};

/// Moves all but the last of the assistant's turns into the prompt.
void keep_last_turn(std::vector<chat_turn>& prompt, std::vector<std::vector<chat_turn>>& answers) {
  const std::vector<chat_turn> earlier(answers.front().begin(), answers.front().end() - 1);
  for (auto& turns : answers) {
    if (std::vector<chat_turn>(turns.begin(), turns.end() - 1) != earlier)
      throw input_error("found answers to one prompt with different turns before the last, want train_on = \"every\"");
    turns.erase(turns.begin(), turns.end() - 1);
  }
  prompt.insert(prompt.end(), earlier.begin(), earlier.end());
}

std::vector<std::vector<chat_turn>> answers_of(const pipeline::demonstrations_table& table, const generate_group& row) {
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

} // namespace

demonstrated_group write_demonstrations(const model::checkpoint& words, const pipeline::demonstrations_table& table,
                                        std::int64_t max_prompt_tokens, const generate_group& row) {
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
  return transport::bundle_builder()
      .add("prompt_tokens", std::span<const std::int32_t>(group.prompt))
      .add("tokens", std::span<const std::int32_t>(tokens))
      .add("mask", std::span<const std::uint8_t>(mask))
      .add("logprob", std::span<const float>(logprob))
      .add("version", std::span<const std::uint32_t>(versions))
      .add("lengths", std::span<const std::int32_t>(lengths))
      .add("finish", std::span<const std::uint8_t>(finish))
      .add("text", std::span<const char>(text))
      .add("text_lengths", std::span<const std::int32_t>(text_lengths))
      .add("reward", std::span<const float>(reward))
      .finish();
}

rollout_actor::behavior_type make_demonstrations(rollout_actor::stateful_pointer<demonstrations_state> self,
                                                 role_context context, model::checkpoint words) {
  self->state.words = std::move(words);
  const auto table = std::get<pipeline::demonstrations_table>(context.role().options);
  const auto prompt_limit = longest_prompt(*context.pipeline);
  const telemetry::holder held(context.who.name());
  return {
      [self, context, table, prompt_limit, held](const generate_group& ask) -> caf::result<group_accepted> {
        held.take({ask.group, ask.attempt});
        auto answer = answer_or_error([&] {
          const auto group = write_demonstrations(self->state.words, table, prompt_limit, ask);
          std::int64_t tokens = 0;
          for (const auto& answer : group.answers)
            tokens += static_cast<std::int64_t>(answer.tokens.size());
          const auto version = self->state.version;
          caf::anon_send(context.coordinator, group_generated{context.who, ask.group, ask.attempt,
                                                              context.data->publish(columns_of(group, version)),
                                                              {{version, tokens}}, 0, 0, {}});
          return group_accepted{ask.group, static_cast<std::int64_t>(group.prompt.size())};
        });
        held.leave({ask.group, ask.attempt});
        return answer;
      },
      [](const cancel_group&) {}, // what is asked for is answered in the same breath
      [](const interrupt_group&) {},
      [self](const new_weights& ask) {
        self->state.version = std::max(self->state.version, ask.version);
        return weights_live{self->state.version, 0, 0};
      },
  };
}

} // namespace millrace::actors
