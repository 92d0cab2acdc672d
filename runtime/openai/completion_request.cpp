#include "runtime/openai/completion_request.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/text/tool_format.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace millrace::openai {
namespace {

using json = nlohmann::json;
using nlohmann::ordered_json;

std::string shown(const json& value) {
  auto text = formats::json_line(value);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

[[noreturn]] void refuse(const std::string& field, const json& found, const std::string& wanted) {
  throw request_error(400, field + ": found " + shown(found) + ", want " + wanted, field);
}

/// The fields of an object. null stands for a field that is missing.
class fields {
public:
  explicit fields(const json& object) : object_(object) {}

  const json* find(const char* name) const {
    const auto at = object_.find(name);
    return at == object_.end() || at->is_null() ? nullptr : &*at;
  }

  bool flag(const char* name) const {
    const auto* value = find(name);
    if (value && !value->is_boolean())
      refuse(name, *value, "true or false");
    return value && value->get<bool>();
  }

  double number(const char* name, double otherwise, double least, double most, const char* wanted) const {
    const auto* value = find(name);
    if (!value)
      return otherwise;
    if (!value->is_number() || !(value->get<double>() >= least && value->get<double>() <= most))
      refuse(name, *value, wanted);
    return value->get<double>();
  }

  std::int64_t integer(const char* name, std::int64_t otherwise, std::int64_t least, std::int64_t most) const {
    const auto* value = find(name);
    if (!value)
      return otherwise;
    const bool fits = value->is_number_integer()
                      && !(value->is_number_unsigned() && value->get<std::uint64_t>() > std::uint64_t(most));
    if (!fits || value->get<std::int64_t>() < least || value->get<std::int64_t>() > most)
      refuse(name, *value, "an integer from " + std::to_string(least) + " to " + std::to_string(most));
    return value->get<std::int64_t>();
  }

private:
  const json& object_;
};

/// What would change the answer, and is not served.
void refuse_unserved(const fields& of) {
  const auto want_none = [&](const char* name) {
    const auto* value = of.find(name);
    if (value && !(value->is_number() && value->get<double>() == 0) && !(value->is_boolean() && !value->get<bool>())
        && !(value->is_structured() && value->empty()))
      refuse(name, *value, "none: it is not served");
  };
  for (const auto* name : {"presence_penalty", "frequency_penalty", "logit_bias", "functions", "top_logprobs"})
    want_none(name);
  for (const auto* name : {"best_of", "echo", "suffix", "repetition_penalty", "prompt_logprobs", "guided_json",
                           "guided_regex", "audio", "modalities"})
    if (const auto* value = of.find(name);
        value && *value != json(1) && *value != json(false) && *value != json("") && *value != json::array({"text"}))
      refuse(name, *value, "none: it is not served");
  if (const auto* format = of.find("response_format"))
    if (!format->is_object() || format->value("type", json()) != "text")
      refuse("response_format", *format, "{\"type\": \"text\"}: no other is served");
  if (const auto* choice = of.find("tool_choice"); choice && *choice != "none" && *choice != "auto")
    refuse("tool_choice", *choice, "\"auto\" or \"none\": a call cannot be forced");
}

/// Whether log-probabilities are asked for: true or false of a chat; of a text also 0 or 1, both of which ask.
bool wants_logprobs(const fields& of, bool chat) {
  const auto* asked = of.find("logprobs");
  if (chat || !asked || asked->is_boolean())
    return of.flag("logprobs");
  if (*asked != json(0) && *asked != json(1))
    refuse("logprobs", *asked, "0 or 1: those of the tokens that were drawn");
  return true;
}

std::vector<std::string> stops_in(const fields& of) {
  const auto* stop = of.find("stop");
  if (!stop)
    return {};
  std::vector<std::string> found;
  for (const auto& one : stop->is_array() ? *stop : json::array({*stop})) {
    if (!one.is_string() || one.get_ref<const std::string&>().empty())
      refuse("stop", *stop, "a text, or a list of texts");
    found.push_back(one.get<std::string>());
  }
  if (found.size() > 16)
    refuse("stop", *stop, "at most 16 texts");
  return found;
}

/// The text of a message: a string, or parts of type text.
std::string content_of(const json& message, const std::string& where) {
  const auto at = message.find("content");
  if (at != message.end() && at->is_string())
    return at->get<std::string>();
  if ((at == message.end() || at->is_null()) && message.contains("tool_calls"))
    return {};
  if (at == message.end() || !at->is_array())
    refuse(where + ".content", at == message.end() ? json() : *at, "a text");
  std::string text;
  for (const auto& part : *at) {
    if (!part.is_object() || part.value("type", json()) != "text" || !part.contains("text")
        || !part["text"].is_string())
      refuse(where + ".content", part, "{\"type\": \"text\", \"text\": ...}: no other part is served");
    text += part["text"].get<std::string>();
  }
  return text;
}

/// The calls of a message of the assistant. @param message in the order of its text
std::vector<tool_call> calls_in(const ordered_json& message, const std::string& where) {
  std::vector<tool_call> calls;
  const auto given = message.find("tool_calls");
  if (given == message.end() || given->is_null())
    return calls;
  constexpr const char* wanted = R"({"type": "function", "function": {"name": text, "arguments": JSON as text}})";
  if (!given->is_array())
    refuse(where + ".tool_calls", json(*given), "a list");
  for (const auto& one : *given) {
    const auto function = one.is_object() ? one.find("function") : one.end();
    if (!one.is_object() || function == one.end() || !function->is_object() || !function->contains("name")
        || !function->at("name").is_string())
      refuse(where + ".tool_calls", json(one), wanted);
    ordered_json arguments = function->value("arguments", ordered_json::object());
    if (arguments.is_string())
      arguments = formats::json_or_discarded<ordered_json>(arguments.get<std::string>());
    if (!arguments.is_object())
      refuse(where + ".tool_calls", json(one), wanted);
    calls.push_back({.name = function->at("name").get<std::string>(), .arguments = text::python_json(arguments)});
  }
  return calls;
}

bool has_tools(const json& object) {
  const auto tools = object.find("tools");
  const auto& messages = object.at("messages");
  return (tools != object.end() && !tools->is_null() && *tools != json::array())
         || std::any_of(messages.begin(), messages.end(), [](const json& m) { return m.contains("tool_calls"); });
}

/// Writes the calls of messages into their texts, and takes what is offered. Both keep the order of their keys.
void read_tools(std::string_view body, const request_defaults& defaults, completion_request& into) {
  ordered_json object;
  try {
    object = formats::parse_json<ordered_json>(body, "", {.keys = formats::json_keys::last_counts});
  } catch (const input_error& why) { // an object of more keys than one in order may have
    throw request_error(400, "the body: " + std::string(why.what()));
  }
  const auto& messages = object.at("messages");
  for (std::size_t i = 0; i < messages.size(); ++i)
    if (auto calls = calls_in(messages[i], "messages[" + std::to_string(i) + "]"); !calls.empty())
      into.messages[i].content =
          defaults.chat->with_calls({.content = into.messages[i].content, .calls = std::move(calls)});
  const auto tools = object.find("tools");
  if (tools == object.end() || tools->is_null() || object.value("tool_choice", ordered_json()) == "none")
    return;
  if (!tools->is_array())
    refuse("tools", json(*tools), "a list");
  for (const auto& tool : *tools) {
    const auto function = tool.is_object() ? tool.find("function") : tool.end();
    if (!tool.is_object() || function == tool.end() || !function->is_object() || !function->contains("name")
        || !function->at("name").is_string())
      refuse("tools", json(tool), R"({"type": "function", "function": {"name": text, ...}})");
    into.tools.push_back(tool.dump());
  }
}

std::vector<chat_turn> messages_in(const fields& of) {
  const auto* messages = of.find("messages");
  if (!messages || !messages->is_array() || messages->empty())
    refuse("messages", messages ? *messages : json(), "a list of at least one message");
  std::vector<chat_turn> turns;
  for (std::size_t i = 0; i < messages->size(); ++i) {
    const auto& message = (*messages)[i];
    const auto where = "messages[" + std::to_string(i) + "]";
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string())
      refuse(where, message, "{\"role\": text, \"content\": text}");
    auto role = message["role"].get<std::string>();
    if (role == "developer") // OpenAI's newer word for it
      role = "system";
    turns.push_back({std::move(role), content_of(message, where)});
  }
  return turns;
}

std::optional<std::vector<std::int32_t>> tokens_in(const json& list) {
  std::vector<std::int32_t> tokens;
  for (const auto& one : list) {
    if (!one.is_number_unsigned() || one.get<std::uint64_t>() > std::numeric_limits<std::int32_t>::max())
      return std::nullopt;
    tokens.push_back(one.get<std::int32_t>());
  }
  return tokens.empty() ? std::nullopt : std::optional(std::move(tokens));
}

std::vector<prompt> prompts_in(const fields& of) {
  const auto* given = of.find("prompt");
  constexpr const char* wanted = "a text, a list of tokens, or a list of one of them";
  if (!given)
    refuse("prompt", json(), wanted);
  if (given->is_string())
    return {given->get<std::string>()};
  if (!given->is_array() || given->empty())
    refuse("prompt", *given, wanted);
  if (auto tokens = tokens_in(*given))
    return {std::move(*tokens)};
  std::vector<prompt> prompts;
  for (const auto& one : *given) {
    auto tokens = one.is_array() ? tokens_in(one) : std::nullopt;
    if (tokens)
      prompts.emplace_back(std::move(*tokens));
    else if (one.is_string())
      prompts.emplace_back(one.get<std::string>());
    else
      refuse("prompt", *given, wanted);
  }
  return prompts;
}

json object_in(std::string_view body) {
  json object;
  try {
    object = formats::parse_json(body, "", {.keys = formats::json_keys::last_counts});
  } catch (const input_error& why) {
    throw request_error(400, "the body is no JSON: " + std::string(why.what()));
  }
  if (!object.is_object())
    throw request_error(400, "the body: found " + shown(object) + ", want a JSON object");
  return object;
}

} // namespace

completion_request read_completion_request(std::string_view body, bool chat, const request_defaults& defaults) {
  const auto object = object_in(body);
  const fields of(object);
  if (const auto* model = of.find("model"); model && !defaults.model.empty() && *model != defaults.model)
    throw request_error(404, "model: found " + shown(*model) + ", want " + shown(json(defaults.model)), "model");
  refuse_unserved(of);
  completion_request made;
  made.chat = chat;
  if (chat)
    made.messages = messages_in(of);
  if (chat && has_tools(object)) {
    if (!defaults.chat)
      throw request_error(400, "tools: found some, want none: they are not served", "tools");
    read_tools(body, defaults, made);
  }
  if (!chat)
    made.prompts = prompts_in(of);
  made.how.temperature = of.number("temperature", defaults.temperature, 0, 100, "a number from 0 to 100");
  made.how.top_p = of.number("top_p", defaults.top_p, 1e-9, 1, "a number above 0, at most 1");
  made.how.min_p = of.number("min_p", 0, 0, 1, "a number from 0 to 1");
  const auto top_k = of.integer("top_k", defaults.top_k, -1, std::numeric_limits<int>::max());
  made.how.top_k = static_cast<int>(std::max<std::int64_t>(0, top_k)); // -1 is the word of others for all
  made.how.stop = stops_in(of);
  made.how.end_tokens = of.flag("ignore_eos") ? std::vector<std::int32_t>{} : defaults.end_tokens;
  const auto length =
      of.integer("max_tokens", chat ? defaults.max_context : 16, 1, std::numeric_limits<std::int32_t>::max());
  made.how.max_new_tokens = std::min(
      defaults.max_context, of.integer("max_completion_tokens", length, 1, std::numeric_limits<std::int32_t>::max()));
  made.answers = static_cast<int>(of.integer("n", 1, 1, defaults.most_answers));
  if (const auto* seed = of.find("seed")) {
    if (!seed->is_number_integer())
      refuse("seed", *seed, "an integer");
    made.seed =
        seed->is_number_unsigned() ? seed->get<std::uint64_t>() : static_cast<std::uint64_t>(seed->get<std::int64_t>());
  }
  made.stream = of.flag("stream");
  if (const auto* options = of.find("stream_options"); options && options->is_object())
    made.with_usage = fields(*options).flag("include_usage");
  made.logprobs = wants_logprobs(of, chat);
  made.token_ids = of.flag("return_token_ids");
  if (made.prompts_count() * static_cast<std::size_t>(made.answers) > static_cast<std::size_t>(defaults.most_answers))
    throw request_error(400,
                        "prompt: found " + std::to_string(made.prompts_count())
                            + " prompts with n = " + std::to_string(made.answers) + ", want at most "
                            + std::to_string(defaults.most_answers) + " answers of a request",
                        "prompt");
  return made;
}

} // namespace millrace::openai
