#include "runtime/data/parse_row.hpp"

#include "runtime/formats/quoted.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/written_numbers.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace millrace::data {
namespace {

using nlohmann::json;

const json* member(const json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::vector<chat_turn> messages_of(const json& list, const std::string& key) {
  std::vector<chat_turn> messages;
  for (const json& turn : list) {
    const json* role = turn.is_object() ? member(turn, "role") : nullptr;
    const json* content = turn.is_object() ? member(turn, "content") : nullptr;
    if (!role || !content || !role->is_string() || !content->is_string())
      throw input_error(key + ": found a message without role or content as text, want {role, content}");
    messages.push_back({role->get<std::string>(), content->get<std::string>()});
  }
  return messages;
}

/// Text as one message of `role`, or a list of messages.
std::vector<chat_turn> turns_of(const json& value, const std::string& key, const char* role) {
  if (value.is_string()) {
    if (value.get_ref<const std::string&>().empty())
      throw input_error(key + ": found no text, want some");
    return {{role, value.get<std::string>()}};
  }
  if (!value.is_array() || value.empty())
    throw input_error(key + ": found " + (value.is_array() ? "an empty list" : formats::written_type(value))
                      + ", want text or a list of messages {role, content}");
  return messages_of(value, key);
}

bool is_assistant(const chat_turn& turn) {
  return turn.role == "assistant";
}

/// Turns that go on after a prompt. What follows the assistant's last turn teaches nothing and is left out.
std::vector<chat_turn> demonstration_of(std::vector<chat_turn> turns, const std::string& key) {
  while (!turns.empty() && !is_assistant(turns.back()))
    turns.pop_back();
  if (turns.empty() || !is_assistant(turns.front()))
    throw input_error(
        key + ": found no turn of the assistant where one is wanted, want messages that go on with the assistant's");
  return turns;
}

/// Takes the turns before `at` off a conversation.
std::vector<chat_turn> split_at(std::vector<chat_turn>& turns, std::ptrdiff_t at) {
  std::vector<chat_turn> before(turns.begin(), turns.begin() + at);
  turns.erase(turns.begin(), turns.begin() + at);
  return before;
}

void take_conversation(const json& messages, row& r) {
  auto turns = turns_of(messages, "messages", "user");
  const auto first = std::find_if(turns.begin(), turns.end(), is_assistant);
  if (first == turns.end())
    throw input_error("messages: found no turn of the assistant, want at least one");
  r.prompt = split_at(turns, first - turns.begin());
  if (r.prompt.empty())
    throw input_error("messages: found the assistant's turn first, want a prompt before it");
  r.demonstrations = {demonstration_of(std::move(turns), "messages")};
}

void take_preference(const json& object, row& r) {
  const json *chosen = member(object, "chosen"), *rejected = member(object, "rejected");
  if (!chosen || !rejected)
    throw input_error(std::string("no \"") + (chosen ? "rejected" : "chosen") + "\", want both chosen and rejected");
  auto better = turns_of(*chosen, "chosen", "assistant"), worse = turns_of(*rejected, "rejected", "assistant");
  if (!member(object, "prompt")) {
    const auto last = std::find_if(better.rbegin(), better.rend(), is_assistant);
    std::ptrdiff_t shared = 0;
    const auto limit = std::min<std::ptrdiff_t>(better.rend() - last - 1, static_cast<std::ptrdiff_t>(worse.size()));
    while (shared < limit && better[static_cast<std::size_t>(shared)] == worse[static_cast<std::size_t>(shared)])
      ++shared;
    if (shared == 0)
      throw input_error("no prompt, and chosen and rejected do not begin with the same turns, want \"prompt\" or whole "
                        "conversations");
    r.prompt = split_at(better, shared);
    split_at(worse, shared);
  }
  r.demonstrations = {demonstration_of(std::move(better), "chosen"), demonstration_of(std::move(worse), "rejected")};
  if (const json* margin = member(object, "margin")) {
    r.margin = formats::is_number(*margin) ? formats::number_of(*margin) : -1;
    if (r.margin < 0)
      throw input_error("margin: found " + formats::written_text(*margin) + ", want a number of at least 0");
  }
}

/// What people wrote, in any of the forms that `open_file` names. Sets the prompt too where it is part of it.
void take_demonstrations(const json& object, row& r) {
  if (const json* messages = member(object, "messages"))
    return take_conversation(*messages, r);
  if (member(object, "chosen") || member(object, "rejected"))
    return take_preference(object, r);
  if (const json* completion = member(object, "completion"))
    r.demonstrations = {demonstration_of(turns_of(*completion, "completion", "assistant"), "completion")};
  else if (const json* extra = member(object, "extra_info"); extra && extra->is_object())
    if (const json* solution = member(*extra, "answer");
        solution && solution->is_string() && !solution->get_ref<const std::string&>().empty())
      r.demonstrations = {{{"assistant", solution->get<std::string>()}}};
}

/// What other data sets call a column: "" where the row has none of the names.
std::string hint(const json& object, std::initializer_list<const char*> names, const std::string& own) {
  for (const char* name : names)
    if (member(object, name))
      return "; found \"" + std::string(name) + "\": say columns = { " + own + " = \"" + name + "\" } (docs/rows.md)";
  return {};
}

std::string prompt_hint(const json& object) {
  return hint(object,
              {"question", "problem", "instruction", "query", "input", "text", "prompts", "question_text", "task",
               "conversations"},
              "prompt");
}

std::string answer_hint(const json& object) {
  return hint(object,
              {"final_answer", "gold", "gold_answer", "target", "targets", "label", "answers", "output", "response",
               "expected_answer", "correct_answer", "result"},
              "answer");
}

const json* expected_answer_in(const json& object) {
  if (const json* model = member(object, "reward_model"); model && model->is_object())
    if (const json* truth = member(*model, "ground_truth"))
      return truth;
  for (const char* key : {"answer", "solution", "ground_truth"})
    if (const json* found = member(object, key))
      return found;
  return nullptr;
}

/// Text is the answer. Of any other value the answer is its JSON, its numbers as they are written.
void take_answer(const json& object, row& r) {
  const json* found = expected_answer_in(object);
  if (!found)
    return;
  if (found->is_string())
    r.answer = found->get<std::string>();
  else
    r.answer = r.ground_truth = formats::written_text(*found);
}

/// The column of a name, or the part of one that a.b names.
const json* column_of(const json& object, std::string_view name) {
  if (const json* found = member(object, std::string(name).c_str()))
    return found;
  const auto dot = name.find('.');
  const json* outer =
      dot == std::string_view::npos ? nullptr : member(object, std::string(name.substr(0, dot)).c_str());
  return outer && outer->is_object() ? column_of(*outer, name.substr(dot + 1)) : nullptr;
}

/// Puts the columns that the data set calls otherwise under our names.
void rename(json& object, const column_names& columns) {
  if (columns.empty())
    return;
  json renamed = object;
  for (const auto& [ours, theirs] : columns) {
    const json* found = column_of(object, theirs);
    if (!found)
      throw input_error("no " + formats::in_quotes(theirs) + ", want it as the column of " + ours);
    renamed[ours] = *found;
  }
  if (columns.contains("answer"))
    renamed.erase("reward_model"); // it would come first
  object = std::move(renamed);
}

/// OpenRLHF's rows: "input" (or "context_messages") with "label" or "output", and "datasource".
void take_openrlhf(json& object) {
  if (member(object, "prompt") || member(object, "messages"))
    return;
  const json* input = member(object, "context_messages");
  input = input ? input : member(object, "input");
  if (!input || !(member(object, "label") || member(object, "output") || member(object, "chosen")))
    return;
  json ours{{"prompt", *input}};
  for (const auto& [theirs, name] :
       {std::pair{"label", "answer"}, {"output", "completion"}, {"datasource", "data_source"}})
    if (const json* found = member(object, theirs))
      ours[name] = *found;
  object.update(ours);
}

} // namespace

row parse_row(std::string_view text, const column_names& columns) {
  json object = formats::parse_json(
      text, "", {.numbers = formats::json_numbers::as_written, .keys = formats::json_keys::last_counts});
  if (!object.is_object())
    throw input_error("found " + formats::written_type(object) + ", want a JSON object");
  rename(object, columns);
  take_openrlhf(object);
  row r;
  if (const json* prompt = member(object, "prompt"))
    r.prompt = turns_of(*prompt, "prompt", "user");
  take_demonstrations(object, r);
  if (r.prompt.empty())
    throw input_error("no prompt, want text or a list of messages {role, content} under \"prompt\""
                      + prompt_hint(object));
  take_answer(object, r);
  if (r.answer.empty() && r.demonstrations.empty())
    throw input_error("no answer, want one under reward_model.ground_truth, answer, solution or ground_truth"
                      + answer_hint(object));
  if (const json* source = member(object, "data_source"); source && source->is_string())
    r.data_source = source->get<std::string>();
  if (const json* extra = member(object, "extra_info"))
    r.extra = formats::written_text(*extra);
  return r;
}

} // namespace millrace::data
