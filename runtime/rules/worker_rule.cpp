#include "runtime/rules/worker_rule.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/workers/python_workers.hpp"

#include <nlohmann/json.hpp>

namespace millrace::rules {
namespace {

using nlohmann::json;
using workers::worker_failure;
using steady = std::chrono::steady_clock;

json parsed(const std::string& reply, const json& id) {
  auto message = reply_in(reply);
  if (!message.is_object())
    throw malformed("a reply that is no JSON object: " + short_line(reply.substr(0, 60)));
  if (message.value("id", json()) != id)
    throw malformed("a reply to another question");
  return message;
}

std::vector<score> scores_of(const json& reply, std::size_t count, question_form form) {
  if (form == question_form::row)
    return {score_in(reply)};
  const auto results = reply.find("results");
  if (results == reply.end())
    throw malformed("a reply without the results");
  return scores_in(*results, count);
}

std::string greeting_of(std::string_view message) {
  const auto said = formats::json_or_discarded(message);
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
      question["calls"].push_back(call_of(input, settings_.form, settings_.prompts));
  } else {
    question = call_of(inputs.front(), settings_.form, settings_.prompts);
  }
  question["id"] = id;
  std::vector<score> scores;
  pool_.ask([&](workers::worker_process& process) {
    const auto until = steady::now() + settings_.deadline;
    process.send(text_of(question), until);
    scores = scores_of(parsed(process.receive(until), id), inputs.size(), settings_.form);
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

std::vector<option> with_worker_options(std::vector<option> own) {
  const std::vector<option> shared{
      {.name = "workers",
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
  own.insert(own.end(), shared.begin(), shared.end());
  return own;
}

void take_worker_options(const option_values& given, worker_settings& into) {
  const auto integer = [&](const char* name) { return std::get<std::int64_t>(given.at(name)); };
  into.count = static_cast<std::size_t>(integer("workers"));
  into.deadline = std::chrono::milliseconds(integer("deadline_ms"));
  into.start_up = std::chrono::milliseconds(integer("start_ms"));
  into.retries = static_cast<int>(integer("retries"));
  into.command.memory_bytes = integer("memory_bytes");
}

worker_settings reward_worker(const option_values& given, const std::string& file, const std::string& function,
                              const std::string& style) {
  worker_settings settings{.form = question_form::calls};
  take_worker_options(given, settings);
  settings.command.arguments = {
      std::get<std::string>(given.at("python")), "-c", workers::reward_worker_script, file, function, style};
  return settings;
}

} // namespace millrace::rules
