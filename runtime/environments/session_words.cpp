#include "runtime/environments/session_words.hpp"

#include "runtime/environments/outside_environment.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/written_numbers.hpp"
#include "runtime/openai/reply_text.hpp"
#include "runtime/text/chat_template.hpp"
#include "runtime/text/tool_format.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <ctime>
#include <limits>
#include <utility>

namespace millrace::environments {

using openai::request_error;

namespace {

constexpr std::size_t shown_bytes = 48;

/// The calls of a turn where each is well formed; else they stay text, as `millrace serve` has it.
bool has_calls(const written_turn& turn) {
  return !turn.calls.empty() && std::none_of(turn.calls.begin(), turn.calls.end(), [](const tool_call& call) {
    return !call.error.empty();
  });
}

bool is_inside_character(const std::string& text, std::size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

/// Some of a message around where it differs.
std::string shown(const chat_turn& message, std::size_t at) {
  auto begin = at - std::min<std::size_t>(at, shown_bytes / 4);
  while (begin > 0 && is_inside_character(message.content, begin))
    --begin;
  auto end = std::min(message.content.size(), begin + shown_bytes);
  while (end > begin && is_inside_character(message.content, end))
    --end;
  return message.role + " "
         + formats::json_line((begin > 0 ? "..." : "") + message.content.substr(begin, end - begin)
                              + (end < message.content.size() ? "..." : ""));
}

} // namespace

const openai::request_defaults& session_defaults() {
  static const openai::request_defaults defaults{.model = "",
                                                 .max_context = std::numeric_limits<std::int32_t>::max(),
                                                 .most_answers = 1,
                                                 .chat = text::named_chat_template("chatml")};
  return defaults;
}

std::vector<std::string> sampling_fields(const openai::completion_request& asked) {
  std::vector<std::string> fields;
  const auto add = [&](const char* name, bool differs) {
    if (differs)
      fields.emplace_back(name);
  };
  const auto& how = asked.how;
  add("temperature", how.temperature != 1);
  add("top_p", how.top_p != 1);
  add("top_k", how.top_k != 0);
  add("min_p", how.min_p != 0);
  add("stop", !how.stop.empty());
  add("max_tokens", how.max_new_tokens != session_defaults().max_context);
  add("seed", asked.seed.has_value());
  return fields;
}

chat_turn as_message(const written_turn& turn) {
  if (!has_calls(turn))
    return {"assistant", turn.text};
  called_turn called{.content = turn.content, .calls = turn.calls};
  for (auto& call : called.calls)
    call.arguments = text::json_as_python(call.arguments);
  return {"assistant", session_defaults().chat->with_calls(called)};
}

void send_turn(const written_turn& turn, const openai::completion_request& asked, const openai::reply_way& out) {
  openai::choice_piece piece{.text = turn.text,
                             .end = turn.cut_off ? rollout::finish_reason::length : rollout::finish_reason::stop,
                             .last_turn = turn.last}; // whoever asks again is refused
  if (has_calls(turn)) {
    piece.text = turn.content;
    piece.calls = turn.calls;
  }
  piece.tokens = turn.sampled.tokens;
  piece.logprobs = turn.sampled.logprobs;
  piece.token_texts = turn.sampled.texts;
  const openai::reply_text text(
      {.chat = true, .id = openai::fresh_id("chatcmpl-"), .model = policy_name, .created = std::time(nullptr)}, asked);
  const openai::token_counts counts{.prompt = turn.prompt_tokens, .completion = turn.tokens};
  if (!asked.stream)
    return out.whole(text.whole({piece}, counts, {turn.sampled.behind}));
  out.piece(text.opening(0, turn.sampled.behind) + text.event(piece)
            + (asked.with_usage ? text.usage_event(counts) : "") + openai::end_of_stream);
  out.end();
}

std::optional<std::string> difference(std::span<const chat_turn> said, std::span<const chat_turn> found) {
  for (std::size_t i = 0; i < said.size(); ++i) {
    const auto where = "messages[" + std::to_string(i) + "]: found ";
    if (i == found.size())
      return where + "none, want " + shown(said[i], 0);
    if (said[i] == found[i])
      continue;
    const auto& a = said[i].content;
    const auto& b = found[i].content;
    const auto at = static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
    return where + shown(found[i], at) + ", want " + shown(said[i], at);
  }
  return std::nullopt;
}

void check_roles(std::span<const chat_turn> messages, std::size_t first, bool opening) {
  for (std::size_t i = first; i < messages.size(); ++i) {
    const auto& role = messages[i].role;
    if (role != "user" && role != "tool" && !(opening && (role == "system" || role == "assistant")))
      throw request_error(400,
                          "messages[" + std::to_string(i) + "].role: found " + formats::json_line(role.substr(0, 40))
                              + (opening ? R"(, want "system", "user", "assistant" or "tool")"
                                         : R"(, want "user" or "tool" behind what was said)"),
                          "messages");
  }
}

saying rewritten_by(const openai::completion_request& asked,
                    std::span<const std::pair<chat_turn, std::string>> written) {
  const auto& all = asked.messages;
  check_roles(all, 0, true);
  check_roles(all, all.size() - 1, false);
  saying what{.messages = {all.back()}, .history = {all.begin(), all.end() - 1}, .rewritten = true};
  std::size_t next = 0; // turns that read alike may have been sampled otherwise: they stand in their order
  for (auto& message : what.history)
    for (std::size_t k = 0; k < written.size(); ++k)
      if (const auto& [given, sampled] = written[(next + k) % written.size()]; message == given) {
        message.content = sampled;
        next += k + 1;
        break;
      }
  return what;
}

std::string episode_text(const std::string& session, const episode_row& row) {
  auto said = row_json(row);
  said["messages"] = std::move(said["prompt"]);
  said.erase("prompt");
  said["id"] = session;
  return formats::written_text(said);
}

} // namespace millrace::environments
