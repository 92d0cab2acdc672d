#include "runtime/environments/outside_environment.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/written_numbers.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace millrace::environments {
namespace {

using nlohmann::json;

json messages_json(const std::vector<chat_turn>& messages) {
  json list = json::array();
  for (const auto& m : messages)
    list.push_back({{"role", m.role}, {"content", m.content}});
  return list;
}

/// JSON of the data as a value; text that is none as text; "" as nothing.
json value_of(const std::string& text) {
  if (text.empty())
    return nullptr;
  auto value = formats::json_or_discarded(text);
  return value.is_discarded() ? json(text) : value;
}

json calls_json(const std::vector<tool_call>& calls) {
  json list = json::array();
  for (const auto& call : calls)
    list.push_back(call.error.empty()
                       ? json{{"name", call.name}, {"arguments", formats::json_or_discarded(call.arguments)}}
                       : json{{"error", call.error}});
  return list;
}

std::string short_line(const json& found) {
  return formats::written_text(found).substr(0, 80);
}

std::string greeting_of(const std::string& message) {
  const auto said = formats::json_or_discarded(message);
  return said.is_object() && said.contains("error") && said["error"].is_string() ? said["error"].get<std::string>()
                                                                                 : "the process says no greeting";
}

/// @throws input_error
std::vector<chat_turn> messages_in(const json& said, const std::string& field = "messages") {
  std::vector<chat_turn> messages;
  const auto found = said.find(field);
  if (found == said.end() || found->is_null())
    return messages;
  if (!found->is_array())
    throw input_error(field + ": found " + short_line(*found) + ", want a list");
  for (const auto& m : *found) {
    if (!m.is_object() || !m.contains("role") || !m.contains("content") || !m["role"].is_string()
        || !m["content"].is_string())
      throw input_error(field + ": found " + short_line(m) + R"(, want {"role": text, "content": text})");
    messages.push_back({m["role"].get<std::string>(), m["content"].get<std::string>()});
  }
  return messages;
}

/// The tools that a process offers, their keys in its order. @throws input_error
std::vector<std::string> tools_in(const std::string& message) {
  std::vector<std::string> tools;
  const auto said = formats::json_or_discarded<nlohmann::ordered_json>(message);
  const auto found = said.find("tools");
  if (found == said.end() || found->is_null())
    return tools;
  if (!found->is_array())
    throw input_error("tools: found " + found->dump().substr(0, 80) + ", want a list");
  for (const auto& tool : *found) {
    if (!tool.is_object() || !tool.value("function", nlohmann::ordered_json()).contains("name"))
      throw input_error("tools: found " + tool.dump().substr(0, 80)
                        + R"(, want {"type": "function", "function": {"name": text, ...}})");
    tools.push_back(tool.dump());
  }
  return tools;
}

/// @throws input_error
json said_in(const std::string& message) {
  auto said = formats::json_or_discarded(message);
  if (const auto failure = said.find("failure"); failure != said.end())
    throw input_error(failure->is_string() ? failure->get<std::string>() : short_line(*failure));
  return said;
}

/// @throws input_error
saying saying_in(const std::string& message) {
  const auto said = said_in(message);
  saying what{.messages = messages_in(said), .history = messages_in(said, "history")};
  what.rewritten = said.contains("history") && !said["history"].is_null();
  if (what.messages.empty() && !what.history.empty()) { // the conversation as it stands, and nothing behind it
    what.messages.push_back(std::move(what.history.back()));
    what.history.pop_back();
  }
  if (const auto reward = said.find("reward"); reward != said.end() && !reward->is_null()) {
    if (!reward->is_number() || !std::isfinite(reward->get<double>()))
      throw input_error("reward: found " + short_line(*reward) + ", want a finite number");
    what.reward = reward->get<double>();
  }
  if (const auto done = said.find("done"); done != said.end() && !done->is_null()) {
    if (!done->is_boolean())
      throw input_error("done: found " + short_line(*done) + ", want true or false");
    what.done = done->get<bool>();
  }
  if (!what.done && what.messages.empty())
    throw input_error("found no message and an episode that is not done, want one of them");
  return what;
}

} // namespace

nlohmann::json row_json(const episode_row& row) {
  return {{"prompt", messages_json(row.prompt)},
          {"answer", row.answer},
          {"ground_truth", row.ground_truth.empty() ? json(row.answer) : value_of(row.ground_truth)},
          {"data_source", row.data_source},
          {"extra_info", value_of(row.extra_info)}};
}

std::uint64_t id_of_answer(const std::string& message) {
  const auto said = formats::json_or_discarded(message);
  if (!said.is_object() || !said.contains("id") || !said["id"].is_number_unsigned())
    throw workers::worker_failure(failure_kind::malformed,
                                  "found " + message.substr(0, 80) + ", want a JSON object with an id");
  return said["id"].get<std::uint64_t>();
}

outside_environment::outside_environment(outside_settings settings)
    : settings_(std::move(settings)), groups_(settings_.count) {
  for (std::size_t i = 0; i < settings_.count; ++i)
    workers_.push_back(std::make_unique<workers::open_worker>(
        settings_.command, settings_.greets ? workers::open_worker::greeting(greeting_of) : nullptr, id_of_answer,
        settings_.start_up, [this, i] { process_is_gone(i); }));
}

std::string outside_environment::unusable() {
  return settings_.unusable.empty() ? workers_.front()->start() : settings_.unusable;
}

void outside_environment::process_is_gone(std::size_t worker) {
  const std::lock_guard hold(lock_);
  std::erase_if(at_, [&](const auto& entry) { return entry.second == worker; });
  groups_[worker] = 0;
}

void outside_environment::begin(group_attempt group, const episode_row& row, std::int32_t answers, std::uint64_t seed,
                                opened_to done) {
  std::size_t worker = 0;
  {
    const std::lock_guard hold(lock_);
    worker = static_cast<std::size_t>(std::min_element(groups_.begin(), groups_.end()) - groups_.begin());
    if (at_.emplace(group, worker).second)
      ++groups_[worker];
  }
  workers_[worker]->ask(
      [&](std::uint64_t id) {
        return formats::written_text({{"id", id},
                                      {"do", "begin"},
                                      {"group", group.group},
                                      {"attempt", group.attempt},
                                      {"answers", answers},
                                      {"seed", seed},
                                      {"row", row_json(row)}});
      },
      settings_.deadline,
      [done = std::move(done)](const std::string& message, const std::string& error) {
        if (!error.empty())
          return done({}, error);
        beginning what;
        try {
          what = {.prompt = messages_in(said_in(message)), .tools = tools_in(message)};
        } catch (const std::exception& wrong) {
          return done({}, wrong.what());
        }
        if (what.prompt.empty())
          return done({}, "found no message, want the prompt");
        done(std::move(what), {});
      });
}

void outside_environment::take(const episode_id& episode, const written_turn& turn, said_to done) {
  std::size_t worker = settings_.count;
  {
    const std::lock_guard hold(lock_);
    if (const auto found = at_.find(episode.group); found != at_.end())
      worker = found->second;
  }
  if (worker == settings_.count)
    return done({}, "the process that had the episode is gone");
  workers_[worker]->ask(
      [&](std::uint64_t id) {
        return formats::written_text({{"id", id},
                                      {"do", "step"},
                                      {"group", episode.group.group},
                                      {"attempt", episode.group.attempt},
                                      {"answer", episode.answer},
                                      {"text", turn.text},
                                      {"content", turn.content},
                                      {"calls", calls_json(turn.calls)},
                                      {"cut_off", turn.cut_off},
                                      {"last", turn.last}});
      },
      settings_.deadline,
      [done = std::move(done)](const std::string& message, const std::string& error) {
        if (!error.empty())
          return done({}, error);
        saying said;
        try {
          said = saying_in(message);
        } catch (const std::exception& wrong) {
          return done({}, wrong.what());
        }
        done(std::move(said), {});
      });
}

void outside_environment::end(group_attempt group) {
  std::size_t worker = 0;
  {
    const std::lock_guard hold(lock_);
    const auto found = at_.find(group);
    if (found == at_.end())
      return;
    worker = found->second;
    at_.erase(found);
    --groups_[worker];
  }
  workers_[worker]->tell(formats::written_text({{"do", "end"}, {"group", group.group}, {"attempt", group.attempt}}));
}

std::vector<option> with_process_options(std::vector<option> own, const std::string& late) {
  const std::vector<option> shared{{.name = "workers",
                                    .fallback = std::int64_t{1},
                                    .allowed = between(1, 1024),
                                    .meaning = "processes; each works on many questions at once"},
                                   {.name = "deadline_ms",
                                    .fallback = std::int64_t{30000},
                                    .allowed = between(1, 3600000),
                                    .meaning = "milliseconds for a reply; later = the process is killed, and " + late},
                                   {.name = "start_ms",
                                    .fallback = std::int64_t{120000},
                                    .allowed = between(1, 3600000),
                                    .meaning = "milliseconds that a process may take to start"},
                                   {.name = "memory_bytes",
                                    .fallback = std::int64_t{0},
                                    .allowed = between(0, 9007199254740992),
                                    .meaning = "bytes of data that one process may hold (RLIMIT_DATA); 0 = no limit"}};
  own.insert(own.end(), shared.begin(), shared.end());
  return own;
}

std::vector<option> python_options(const std::string& what, const std::string& calls) {
  return {{.name = "file",
           .fallback = std::string(),
           .allowed = needed(),
           .meaning = "the Python file that holds the " + what + "; relative to the pipeline file's folder",
           .path = true},
          {.name = what, .fallback = std::string(), .allowed = needed(), .meaning = "its name in the file"},
          {.name = "python",
           .fallback = std::string("python3"),
           .allowed = any(),
           .meaning = "the interpreter: a path, or a name to look for in PATH; 3.8 or later"},
          {.name = "call_threads",
           .fallback = std::int64_t{32},
           .allowed = between(1, 4096),
           .meaning = "calls of a plain " + calls + " that one process makes at once; async ones are not counted"}};
}

outside_settings process_settings(const option_values& given) {
  const auto integer = [&](const char* name) { return std::get<std::int64_t>(given.at(name)); };
  outside_settings settings;
  settings.count = static_cast<std::size_t>(integer("workers"));
  settings.deadline = std::chrono::milliseconds(integer("deadline_ms"));
  settings.start_up = std::chrono::milliseconds(integer("start_ms"));
  settings.command.memory_bytes = integer("memory_bytes");
  return settings;
}

} // namespace millrace::environments
