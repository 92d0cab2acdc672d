#include "runtime/openai/reply_text.hpp"

#include "runtime/text/utf8.hpp"

#include <nlohmann/json.hpp>

#include <random>

namespace millrace::openai {
namespace {

using nlohmann::ordered_json;

/// Tokens may be parts of characters.
std::string dumped(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

ordered_json finish_of(const choice_piece& piece) {
  const auto& end = piece.end;
  return !end                                   ? ordered_json()
         : !piece.calls.empty()                 ? "tool_calls"
         : *end == rollout::finish_reason::stop ? "stop"
                                                : "length";
}

ordered_json usage_of(const token_counts& counts) {
  return {{"prompt_tokens", counts.prompt},
          {"completion_tokens", counts.completion},
          {"total_tokens", counts.prompt + counts.completion}};
}

ordered_json chat_logprobs(const choice_piece& piece) {
  ordered_json content = ordered_json::array();
  for (std::size_t i = 0; i < piece.tokens.size(); ++i) {
    const auto& bytes = piece.token_texts[i];
    ordered_json numbers = ordered_json::array();
    for (const char byte : bytes)
      numbers.push_back(static_cast<unsigned char>(byte));
    content.push_back({{"token", bytes},
                       {"logprob", piece.logprobs[i]},
                       {"bytes", std::move(numbers)},
                       {"top_logprobs", ordered_json::array()}});
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

ordered_json completion_logprobs(const choice_piece& piece) {
  ordered_json tokens = ordered_json::array(), offsets = ordered_json::array();
  auto offset = piece.text_offset;
  for (const auto& bytes : piece.token_texts) {
    tokens.push_back(bytes);
    offsets.push_back(offset);
    offset += text::characters_in(bytes);
  }
  return {{"tokens", std::move(tokens)},
          {"token_logprobs", piece.logprobs},
          {"top_logprobs", nullptr},
          {"text_offset", std::move(offsets)}};
}

} // namespace

namespace {

ordered_json head_of(const reply_head& head, const char* object) {
  return {{"id", head.id}, {"object", object}, {"created", head.created}, {"model", head.model}};
}

/// Calls as programs know them; in a stream each has its index.
ordered_json calls_of(const reply_head& head, const choice_piece& piece, bool stream) {
  ordered_json list = ordered_json::array();
  for (std::size_t i = 0; i < piece.calls.size(); ++i) {
    ordered_json call = ordered_json::object();
    if (stream)
      call["index"] = i;
    call["id"] = "call-" + head.id + "-" + std::to_string(piece.index) + "-" + std::to_string(i);
    call["type"] = "function";
    call["function"] = {{"name", piece.calls[i].name}, {"arguments", piece.calls[i].arguments}};
    list.push_back(std::move(call));
  }
  return list;
}

ordered_json message_of(const reply_head& head, const choice_piece& piece) {
  ordered_json message{{"role", "assistant"}, {"content", piece.text}, {"refusal", nullptr}};
  if (piece.calls.empty())
    return message;
  if (piece.text.empty())
    message["content"] = nullptr;
  message["tool_calls"] = calls_of(head, piece, false);
  return message;
}

/// @param text_key what the text stands under: an object for a chat
ordered_json choice_of(const choice_piece& piece, const completion_request& asked, ordered_json text,
                       const char* text_key) {
  ordered_json logprobs;
  if (asked.logprobs)
    logprobs = asked.chat ? chat_logprobs(piece) : completion_logprobs(piece);
  ordered_json choice{{"index", piece.index},
                      {text_key, std::move(text)},
                      {"logprobs", std::move(logprobs)},
                      {"finish_reason", finish_of(piece)}};
  if (asked.token_ids)
    choice["token_ids"] = piece.tokens;
  return choice;
}

} // namespace

std::string reply_text::whole(const std::vector<choice_piece>& pieces, const token_counts& counts,
                              const std::vector<std::vector<std::int32_t>>& prompts) const {
  ordered_json choices = ordered_json::array();
  for (const auto& piece : pieces) {
    choices.push_back(head_.chat ? choice_of(piece, asked_, message_of(head_, piece), "message")
                                 : choice_of(piece, asked_, piece.text, "text"));
    if (piece.last_turn)
      choices.back()["last_turn"] = true;
  }
  auto reply = head_of(head_, head_.chat ? "chat.completion" : "text_completion");
  reply["choices"] = std::move(choices);
  reply["usage"] = usage_of(counts);
  if (asked_.token_ids)
    reply["prompt_token_ids"] = prompts.size() == 1 ? ordered_json(prompts.front()) : ordered_json(prompts);
  return dumped(reply);
}

std::string reply_text::opening(std::size_t choice, const std::vector<std::int32_t>& behind) const {
  auto chunk = head_of(head_, "chat.completion.chunk");
  chunk["choices"] = ordered_json::array({{{"index", choice},
                                           {"delta", {{"role", "assistant"}, {"content", ""}}},
                                           {"logprobs", nullptr},
                                           {"finish_reason", nullptr}}});
  if (asked_.token_ids)
    chunk["prompt_token_ids"] = behind;
  return "data: " + dumped(chunk) + "\n\n";
}

std::string reply_text::event(const choice_piece& piece) const {
  auto chunk = head_of(head_, head_.chat ? "chat.completion.chunk" : "text_completion");
  ordered_json delta = ordered_json::object();
  if (!piece.text.empty())
    delta["content"] = piece.text;
  if (!piece.calls.empty())
    delta["tool_calls"] = calls_of(head_, piece, true);
  chunk["choices"] = ordered_json::array({head_.chat ? choice_of(piece, asked_, std::move(delta), "delta")
                                                     : choice_of(piece, asked_, piece.text, "text")});
  return "data: " + dumped(chunk) + "\n\n";
}

std::string reply_text::usage_event(const token_counts& counts) const {
  auto chunk = head_of(head_, head_.chat ? "chat.completion.chunk" : "text_completion");
  chunk["choices"] = ordered_json::array();
  chunk["usage"] = usage_of(counts);
  return "data: " + dumped(chunk) + "\n\n";
}

std::string fresh_id(const std::string& prefix) {
  static thread_local std::random_device random;
  constexpr const char* digits = "0123456789abcdef";
  auto id = prefix;
  for (int i = 0; i < 24; ++i)
    id += digits[random() % 16];
  return id;
}

std::string error_text(int status, const std::string& why, const std::string& field) {
  const char* type = status == 401   ? "authentication_error"
                     : status == 429 ? "rate_limit_error"
                     : status >= 500 ? "server_error"
                                     : "invalid_request_error";
  return dumped({{"error",
                  {{"message", why},
                   {"type", type},
                   {"param", field.empty() ? ordered_json() : ordered_json(field)},
                   {"code", status == 404 && field == "model" ? ordered_json("model_not_found") : ordered_json()}}}});
}

std::string model_text(const std::string& model, std::int64_t max_context, std::int64_t created) {
  ordered_json said{{"id", model}, {"object", "model"}, {"created", created}, {"owned_by", "millrace"}};
  if (max_context > 0)
    said["max_model_len"] = max_context;
  return dumped(said);
}

std::string models_text(const std::string& model, std::int64_t max_context, std::int64_t created) {
  return R"({"object":"list","data":[)" + model_text(model, max_context, created) + "]}";
}

} // namespace millrace::openai
