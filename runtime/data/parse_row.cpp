#include "runtime/data/parse_row.hpp"

#include "runtime/input_error.hpp"

#include <nlohmann/json.hpp>
#include <utf8proc.h>

#include <algorithm>

namespace millrace::data {
namespace {

using nlohmann::json;

constexpr int most_depth = 64;

bool is_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t c = 0;
    const auto size = utf8proc_iterate(at, left, &c);
    if (size <= 0)
      return false;
    at += size;
    left -= size;
  }
  return true;
}

/// Deepest nesting of brackets outside strings: what a recursive reader would have to bear.
int depth_of(std::string_view text) {
  int depth = 0, deepest = 0;
  bool string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        string = false;
    } else if (c == '"') {
      string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

const json* member(const json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

/// Text, or a number as it is written in JSON.
std::string text_of(const json& value, const std::string& key) {
  if (value.is_string())
    return value.get<std::string>();
  if (value.is_number())
    return value.dump();
  throw input_error(key + ": found " + value.type_name() + ", want text or a number");
}

std::vector<message> prompt_of(const json& object) {
  const json* prompt = member(object, "prompt");
  if (!prompt)
    throw input_error("no prompt, want text or a list of messages {role, content} under \"prompt\"");
  if (prompt->is_string()) {
    if (prompt->get_ref<const std::string&>().empty())
      throw input_error("prompt: found no text, want some");
    return {{"user", prompt->get<std::string>()}};
  }
  if (!prompt->is_array() || prompt->empty())
    throw input_error("prompt: found " + std::string(prompt->is_array() ? "an empty list" : prompt->type_name()) +
                      ", want text or a list of messages {role, content}");
  std::vector<message> messages;
  for (const json& turn : *prompt) {
    const json* role = turn.is_object() ? member(turn, "role") : nullptr;
    const json* content = turn.is_object() ? member(turn, "content") : nullptr;
    if (!role || !content || !role->is_string() || !content->is_string())
      throw input_error("prompt: found a message without role or content as text, want {role, content}");
    messages.push_back({role->get<std::string>(), content->get<std::string>()});
  }
  return messages;
}

std::string answer_of(const json& object) {
  if (const json* model = member(object, "reward_model"); model && model->is_object())
    if (const json* truth = member(*model, "ground_truth"))
      return text_of(*truth, "reward_model.ground_truth");
  for (const char* key : {"answer", "solution", "ground_truth"})
    if (const json* found = member(object, key))
      return text_of(*found, key);
  return {};
}

} // namespace

row parse_row(std::string_view line) {
  if (!is_utf8(line))
    throw input_error("not UTF-8");
  if (depth_of(line) > most_depth)
    throw input_error("nested deeper than " + std::to_string(most_depth));
  json object;
  try {
    object = json::parse(line);
  } catch (const json::exception& error) {
    const std::string_view what = error.what();
    throw input_error("not JSON: " + std::string(what.substr(std::min(what.size(), what.find("] ") + 2))));
  }
  if (!object.is_object())
    throw input_error("found " + std::string(object.type_name()) + ", want a JSON object");
  row r;
  r.prompt = prompt_of(object);
  r.answer = answer_of(object);
  if (r.answer.empty())
    throw input_error("no answer, want one under reward_model.ground_truth, answer, solution or ground_truth");
  if (const json* source = member(object, "data_source"); source && source->is_string())
    r.data_source = source->get<std::string>();
  if (const json* extra = member(object, "extra_info"))
    r.extra = extra->dump();
  return r;
}

} // namespace millrace::data
