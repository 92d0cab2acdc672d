#include "runtime/rules/worker_rule.hpp"

#include <nlohmann/json.hpp>

#include <cmath>

namespace millrace::rules {
namespace {

using nlohmann::json;
using workers::worker_failure;
using steady = std::chrono::steady_clock;

constexpr int most_depth = 64; ///< what other code walks through recursively

json messages_of(const row_context* row) {
  json turns = json::array();
  if (row)
    for (const chat_turn& turn : row->prompt)
      turns.push_back({{"role", turn.role}, {"content", turn.content}});
  return turns;
}

/// What the processes see of an answer.
json call_of(const rule_input& input, const worker_settings& settings) {
  json call{{"data_source", input.row ? input.row->data_source : ""},
            {"prompt", messages_of(input.row)},
            {"completion", std::string(input.text)},
            {"ground_truth", std::string(input.answer)},
            {"extra_info", nullptr}};
  const auto take = [&](const char* name, const std::string& written) {
    auto value = written.empty() ? json(json::value_t::discarded) : json::parse(written, nullptr, false);
    if (!value.is_discarded())
      call[name] = std::move(value);
  };
  if (input.row) {
    take("extra_info", input.row->extra_info);
    take("ground_truth", input.row->ground_truth);
  }
  if (settings.form == question_form::row) {
    call["finish_reason"] = input.truncated ? "length" : "stop";
  } else {
    call["completion_ids"] = input.completion_ids;
    call["chat"] = settings.prompts == "messages" || (settings.prompts == "auto" && call["prompt"].size() > 1);
  }
  return call;
}

std::string text_of(const json& message) {
  return message.dump(-1, ' ', false, json::error_handler_t::replace); // an answer may be no UTF-8
}

worker_failure malformed(const std::string& found) {
  return {failure_kind::malformed, found};
}

failure_kind kind_of(const std::string& word) {
  for (std::size_t i = 0; i < failure_words.size(); ++i)
    if (failure_words[i] == word)
      return static_cast<failure_kind>(i);
  return failure_kind::malformed;
}

std::string short_line(const json& text) {
  std::string line = text.is_string() || text.is_number() ? text.is_string() ? text.get<std::string>() : text.dump()
                                                          : text.type_name();
  for (char& c : line)
    if (static_cast<unsigned char>(c) < ' ')
      c = ' ';
  return line.substr(0, 300);
}

/// One result as a score. @throws worker_failure for one that is none
score score_in(const json& result) {
  if (!result.is_object())
    throw malformed("a result that is no JSON object");
  if (const auto failure = result.find("failure"); failure != result.end() && failure->is_string())
    return score::error(short_line(result.value("reason", json(""))), kind_of(failure->get<std::string>()));
  const auto value = result.find("score");
  if (value == result.end())
    throw malformed("a result without \"score\"");
  if (value->is_null())
    return score::not_applicable();
  if (!value->is_number() || !std::isfinite(value->get<double>()))
    throw malformed("score: found " + short_line(*value).substr(0, 60) + ", want a number or null");
  auto found = score::of(value->get<double>());
  if (const auto metrics = result.find("metrics"); metrics != result.end() && metrics->is_object())
    for (const auto& [name, number] : metrics->items())
      if (number.is_number() && std::isfinite(number.get<double>()))
        found.metrics.emplace(name, number.get<double>());
  return found;
}

json parsed(const std::string& reply, const json& id) {
  const auto shallow = [](int depth, json::parse_event_t, json&) {
    if (depth > most_depth)
      throw malformed("a reply of more than " + std::to_string(most_depth) + " levels");
    return true;
  };
  auto message = json::parse(reply, shallow, false);
  if (!message.is_object())
    throw malformed("a reply that is no JSON object: " + short_line(reply.substr(0, 60)));
  if (message.value("id", json()) != id)
    throw malformed("a reply to another question");
  return message;
}

std::vector<score> scores_in(const json& reply, std::size_t count, question_form form) {
  if (form == question_form::row)
    return {score_in(reply)};
  const auto results = reply.find("results");
  if (results == reply.end() || !results->is_array() || results->size() != count)
    throw malformed("a reply without the " + std::to_string(count) + " results");
  std::vector<score> scores;
  for (const json& result : *results)
    scores.push_back(score_in(result));
  return scores;
}

std::string greeting_of(std::string_view message) {
  const auto said = json::parse(message, nullptr, false);
  return said.is_object() && said.contains("error") ? short_line(said["error"]) : "the process says no greeting";
}

} // namespace

worker_rule::worker_rule(worker_settings settings)
    : settings_(std::move(settings)),
      pool_(settings_.command, settings_.count,
            settings_.form == question_form::calls ? greeting_of : workers::worker_pool::greeting(),
            settings_.start_up) {
}

std::vector<score> worker_rule::ask_once(std::span<const rule_input> inputs) const {
  const std::uint64_t id = next_++;
  json question;
  if (settings_.form == question_form::calls) {
    question = {{"calls", json::array()}};
    for (const rule_input& input : inputs)
      question["calls"].push_back(call_of(input, settings_));
  } else {
    question = call_of(inputs.front(), settings_);
  }
  question["id"] = id;
  std::vector<score> scores;
  pool_.ask([&](workers::worker_process& process) {
    const auto until = steady::now() + settings_.deadline;
    process.send(text_of(question), until);
    scores = scores_in(parsed(process.receive(until), id), inputs.size(), settings_.form);
    return std::string();
  });
  return scores;
}

std::vector<score> worker_rule::ask(std::span<const rule_input> inputs) const {
  for (int tried = 0;; ++tried) {
    try {
      return ask_once(inputs);
    } catch (const worker_failure& failure) {
      // Another process may do what a dead one did not; what hangs or answers nonsense does it again.
      if (failure.kind != failure_kind::crash || tried >= settings_.retries) {
        const std::string why = failure.kind == failure_kind::timeout
                                    ? "no score within " + std::to_string(settings_.deadline.count()) + " ms"
                                    : failure.what();
        return std::vector<score>(inputs.size(), score::error(why, failure.kind));
      }
    }
  }
}

score worker_rule::evaluate(const rule_input& input) const {
  return std::move(ask({&input, 1}).front());
}

std::vector<score> worker_rule::evaluate_group(std::span<const rule_input> inputs) const {
  return settings_.groups && !inputs.empty() ? ask(inputs) : rule::evaluate_group(inputs);
}

std::string worker_rule::unusable() const {
  if (!settings_.unusable.empty())
    return settings_.unusable;
  try {
    pool_.ask([](workers::worker_process&) { return std::string(); });
  } catch (const worker_failure& failure) {
    return failure.what();
  }
  return {};
}

std::chrono::milliseconds worker_rule::longest(std::size_t callers) const {
  const auto rounds = static_cast<std::int64_t>((callers + settings_.count - 1) / settings_.count);
  return rounds * (settings_.retries + 1) * (settings_.deadline + settings_.start_up);
}

std::vector<option> worker_options() {
  return {{.name = "workers",
           .fallback = std::int64_t{2},
           .allowed = between(1, 1024),
           .meaning = "processes; each is started once and scores one question at a time"},
          {.name = "deadline_ms",
           .fallback = std::int64_t{10000},
           .allowed = between(1, 3600000),
           .meaning = "milliseconds for one question; later = a failure (timeout), and the process is killed"},
          {.name = "start_ms",
           .fallback = std::int64_t{120000},
           .allowed = between(1, 3600000),
           .meaning = "milliseconds that a process may take to start"},
          {.name = "retries",
           .fallback = std::int64_t{1},
           .allowed = between(0, 100),
           .meaning = "further tries with a fresh process after one that died"},
          {.name = "memory_bytes",
           .fallback = std::int64_t{0},
           .allowed = between(0, 9007199254740992),
           .meaning = "bytes of data that one process may hold (RLIMIT_DATA); 0 = no limit"}};
}

void take_worker_options(const option_values& given, worker_settings& into) {
  const auto integer = [&](const char* name) { return std::get<std::int64_t>(given.at(name)); };
  into.count = static_cast<std::size_t>(integer("workers"));
  into.deadline = std::chrono::milliseconds(integer("deadline_ms"));
  into.start_up = std::chrono::milliseconds(integer("start_ms"));
  into.retries = static_cast<int>(integer("retries"));
  into.command.memory_bytes = integer("memory_bytes");
}

} // namespace millrace::rules
