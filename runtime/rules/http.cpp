#include "runtime/rules/outside_question.hpp"
#include "runtime/words/input_error.hpp"
#include "runtime/workers/web_client.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

namespace millrace::rules {

extern const rule_type http;

namespace {

namespace http_style {

using nlohmann::json;
using workers::worker_failure;

/// The request and the reply of one way of asking.
struct style {
  const char* name;
  json (*question)(std::span<const rule_input> inputs);
  /// @throws worker_failure (malformed)
  std::vector<score> (*scores)(const json& reply, std::size_t count);
};

json rows_of(std::span<const rule_input> inputs) {
  json rows = json::array();
  for (const rule_input& input : inputs)
    rows.push_back(call_of(input, question_form::row, {}));
  return rows;
}

/// What OpenRLHF's `remote_rm_url` is sent: the prompt with the answer behind it, the prompt, the label.
json queries_of(std::span<const rule_input> inputs) {
  json query = json::array(), prompts = json::array(), labels = json::array();
  for (const rule_input& input : inputs) {
    std::string prompt;
    if (input.row)
      for (const chat_turn& turn : input.row->prompt)
        prompt += (prompt.empty() ? "" : "\n") + turn.content;
    query.push_back(prompt + std::string(input.text));
    prompts.push_back(std::move(prompt));
    labels.push_back(call_of(input, question_form::row, {})["ground_truth"]);
  }
  return {{"query", std::move(query)}, {"prompts", std::move(prompts)}, {"labels", std::move(labels)}};
}

/// A list of `count`; for one answer its only entry will do. nullptr where it is neither.
const json* entry_of(const json& values, std::size_t at, std::size_t count) {
  if (values.is_array())
    return values.size() == count ? &values[at] : nullptr;
  return count == 1 ? &values : nullptr;
}

std::vector<score> rewards_in(const json& reply, std::size_t count) {
  const auto rewards = reply.is_object() ? reply.find("rewards") : reply.end();
  if (!reply.is_object() || rewards == reply.end())
    throw malformed("a reply without \"rewards\"");
  if (rewards->is_array() ? rewards->size() != count : count != 1)
    throw malformed("rewards: want a list of " + std::to_string(count) + ", found "
                    + (rewards->is_array() ? "one of " + std::to_string(rewards->size()) : rewards->type_name()));
  std::vector<score> scores;
  for (std::size_t i = 0; i < count; ++i)
    try {
      scores.push_back(score::of(number_in(*entry_of(*rewards, i, count), "rewards")));
    } catch (const worker_failure& failure) {
      scores.push_back(score::error(failure.what(), failure.kind));
    }
  if (const auto logs = reply.find("extra_logs"); logs != reply.end() && logs->is_object())
    for (const auto& [name, values] : logs->items())
      for (std::size_t i = 0; i < count; ++i)
        if (const json* entry = entry_of(values, i, count); entry && entry->is_number())
          scores[i].metrics.emplace(name, entry->get<double>());
  return scores;
}

constexpr style json_rows{"json", rows_of, scores_in}, of_openrlhf{"openrlhf", queries_of, rewards_in};

} // namespace http_style

struct http_settings {
  workers::web_server server;
  const http_style::style* style = &http_style::json_rows;
  std::chrono::milliseconds deadline{10000}; ///< of one try
  std::chrono::milliseconds pause{200};      ///< before the second try; twice as long before each further one
  int retries = 3;
};

constexpr std::chrono::milliseconds longest_pause{10000};

/// Asks a server about the answers of a group together.
class http_rule final : public rule {
public:
  explicit http_rule(http_settings settings) : settings_(std::move(settings)), client_(settings_.server) {}

  score evaluate(const rule_input& input) const override { return std::move(evaluate_group({&input, 1}).front()); }

  std::vector<score> evaluate_group(std::span<const rule_input> inputs) const override {
    if (inputs.empty())
      return {};
    std::vector<score> scores;
    const auto failed = tried([&](auto until) {
      const auto reply = client_.post(text_of(settings_.style->question(inputs)), until);
      const auto said = reply_in(reply);
      if (said.is_discarded())
        throw malformed("an answer that is no JSON: " + short_line(reply.substr(0, 60)));
      scores = settings_.style->scores(said, inputs.size());
    });
    return failed ? std::vector<score>(inputs.size(), *failed) : scores;
  }

  bool wants_groups() const override { return true; }

  void give_up() const override {
    {
      const std::lock_guard hold(lock_);
      given_up_ = true;
    }
    no_more_tries_.notify_all();
    client_.close();
  }

  std::string unusable() const override {
    const auto failed = tried([&](auto until) { client_.connect(until); });
    return failed ? failed->reason : "";
  }

  std::chrono::milliseconds longest(std::size_t) const override {
    auto sum = settings_.deadline;
    for (int again = 0; again < settings_.retries; ++again)
      sum += settings_.deadline + pause_before(again);
    return sum;
  }

private:
  std::chrono::milliseconds pause_before(int again) const {
    return std::min(longest_pause, settings_.pause * (1 << std::min(again, 16)));
  }

  /// Does it, again where that may help. @returns the failure of the last try
  template <class Do>
  std::optional<score> tried(Do once) const {
    for (int again = 0;; ++again) {
      std::optional<score> failed;
      try {
        once(std::chrono::steady_clock::now() + settings_.deadline);
        return std::nullopt;
      } catch (const workers::web_failure& failure) {
        failed =
            failure.kind == failure_kind::timeout
                ? score::error("no score within " + std::to_string(settings_.deadline.count()) + " ms", failure.kind)
                : score::error(failure.what(), failure.kind);
        if (!failure.worth_asking || again >= settings_.retries)
          return failed;
      } catch (const workers::worker_failure& failure) {
        return score::error(failure.what(), failure.kind);
      }
      std::unique_lock hold(lock_);
      if (no_more_tries_.wait_for(hold, pause_before(again), [this] { return given_up_; }))
        return failed;
    }
  }

  http_settings settings_;
  mutable workers::web_client client_;
  mutable std::mutex lock_;
  mutable std::condition_variable no_more_tries_;
  mutable bool given_up_ = false;
};

std::unique_ptr<rule> make_http(const option_values& given) {
  const auto text = [&](const char* name) { return std::get<std::string>(given.at(name)); };
  const auto integer = [&](const char* name) { return std::get<std::int64_t>(given.at(name)); };
  http_settings settings;
  try {
    settings.server.address = workers::web_address_from(text("url"));
  } catch (const input_error& error) {
    throw input_error(std::string("rule http: url: ") + error.what());
  }
  if (const auto file = text("token_file"); !file.empty())
    settings.server.token = workers::bearer_token(file);
  settings.server.ca_file = text("ca_file");
  settings.style = text("style") == "json" ? &http_style::json_rows : &http_style::of_openrlhf;
  settings.deadline = std::chrono::milliseconds(integer("deadline_ms"));
  settings.pause = std::chrono::milliseconds(integer("backoff_ms"));
  settings.retries = static_cast<int>(integer("retries"));
  return std::make_unique<http_rule>(std::move(settings));
}

} // namespace

const rule_type http{
    .name = "http",
    .meaning = "what a server of yours answers to the answers of a group, JSON over HTTP or HTTPS",
    .options =
        {{.name = "url",
          .fallback = std::string(),
          .allowed = needed(),
          .meaning = "http://HOST[:PORT]/PATH, or https:// with a certificate that can be verified"},
         {.name = "style",
          .fallback = std::string("json"),
          .allowed = one_of({"json", "openrlhf"}),
          .meaning = "json = a list of the objects that `program` gets, and a list of results back; openrlhf = "
                     "what its remote reward models are sent and answer"},
         {.name = "token_file",
          .fallback = std::string(),
          .allowed = any(),
          .meaning = "file with the bearer token that the server is shown; others must not be able to read it",
          .path = true},
         {.name = "ca_file",
          .fallback = std::string(),
          .allowed = any(),
          .meaning = "certificates (PEM) that vouch for an https server; empty = those of the system",
          .path = true},
         {.name = "deadline_ms",
          .fallback = std::int64_t{10000},
          .allowed = between(1, 3600000),
          .meaning = "milliseconds of one try, from connecting to the last byte; later = a failure (timeout)"},
         {.name = "retries",
          .fallback = std::int64_t{3},
          .allowed = between(0, 100),
          .meaning = "further tries where the server is away, busy or broke off; none after a timeout"},
         {.name = "backoff_ms",
          .fallback = std::int64_t{200},
          .allowed = between(0, 10000),
          .meaning =
              "milliseconds before the second try; the pause doubles before each further one, until it is 10 s"}},
    .make = make_http,
    .outside = true};

} // namespace millrace::rules
