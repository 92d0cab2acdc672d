#pragma once

#include "runtime/environments/endpoint_environment.hpp"
#include "tests/runtime/environments/played.hpp"
#include "tests/support/http_client.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>

// What the tests of the endpoint share: an environment behind a port, its clients, and a session under way.
namespace millrace::tests::endpoint_clients {

using namespace std::chrono_literals;
using environments::endpoint_environment;
using nlohmann::json;
using verb = http_client::verb;

using said = std::future<std::pair<saying, std::string>>;
using begun = std::future<std::pair<environments::beginning, std::string>>;

/// An environment behind a port that is free, and its clients: each request on a connection of its own.
struct open_endpoint {
  std::unique_ptr<endpoint_environment> plays;

  explicit open_endpoint(std::chrono::milliseconds deadline = 60s, std::chrono::milliseconds seat_wait = 60s)
      : plays(std::make_unique<endpoint_environment>(environments::endpoint_settings{
          .at = *parse_listen_address("127.0.0.1:0"), .sessions = {.deadline = deadline, .seat_wait = seat_wait}})) {
    REQUIRE(plays->unusable() == "");
  }

  std::uint16_t port() const {
    const auto url = plays->url();
    return static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  }

  http_reply post(const std::string& path, const json& body = json::object(), const std::string& session = "") const {
    return http_client(port()).ask(verb::post, path, body.dump(), "", "application/json", session);
  }

  std::future<http_reply> posted(const std::string& path, const json& body = json::object(),
                                 const std::string& session = "") const {
    return std::async(std::launch::async, [=, this] { return post(path, body, session); });
  }

  begun begin(group_attempt group, std::int32_t answers = 1) const {
    const auto promised = std::make_shared<std::promise<std::pair<environments::beginning, std::string>>>();
    plays->begin(group, row_of("What is 2 + 3?", "5"), answers, 1,
                 [promised](environments::beginning what, std::string error) {
                   promised->set_value({std::move(what), std::move(error)});
                 });
    return promised->get_future();
  }

  said take(const environments::episode_id& which, environments::written_turn turn) const {
    const auto promised = std::make_shared<std::promise<std::pair<saying, std::string>>>();
    plays->take(which, turn, [promised](saying what, std::string error) {
      promised->set_value({std::move(what), std::move(error)});
    });
    return promised->get_future();
  }

  std::string seat() const { return post("/v1/episodes").parsed().at("id").get<std::string>(); }
};

inline std::string chat_of(const std::string& session) {
  return "/v1/episodes/" + session + "/chat/completions";
}

inline json message(const std::string& role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

inline json asking(const json& messages, const json& more = json::object()) {
  json body{{"model", "gpt-4o"}, {"messages", messages}};
  body.update(more);
  return body;
}

inline json message_in(const http_reply& reply) {
  return reply.parsed().at("choices").at(0).at("message");
}

template <class T>
std::string error_of(std::future<std::pair<T, std::string>>& answer) {
  REQUIRE(answer.wait_for(60s) == std::future_status::ready);
  return answer.get().second;
}

inline const json hello = json::array({message("system", "Be brief."), message("user", "Hi")});

/// A session whose first turn "one" the client has.
struct begun_session {
  open_endpoint at;
  std::string id;
  said first;

  explicit begun_session(bool last = false, std::chrono::milliseconds deadline = 60s) : at(deadline) {
    auto opened = at.begin({1, 0});
    id = at.seat();
    auto reply = at.posted(chat_of(id), asking(hello));
    within_deadline(std::move(opened));
    first = at.take({{1, 0}, 0}, {.text = "one", .last = last});
    CHECK(message_in(reply.get()) == json{{"role", "assistant"}, {"content", "one"}, {"refusal", nullptr}});
  }

  json after(const std::string& assistant, const std::string& user = "and?") const {
    auto messages = hello;
    messages.push_back(message("assistant", assistant));
    messages.push_back(message("user", user));
    return asking(messages);
  }
};

} // namespace millrace::tests::endpoint_clients
