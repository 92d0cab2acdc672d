#include "tests/runtime/environments/endpoint_clients.hpp"

#include <doctest/doctest.h>

namespace endpoint_histories_test {

using namespace millrace;
using namespace millrace::tests;
using namespace millrace::tests::endpoint_clients;

TEST_CASE("endpoint environment: a history that was rewritten goes on behind the new one, with what was sampled") {
  begun_session s; // system Be brief., user Hi: "one"
  auto other = s.at.posted(chat_of(s.id), s.after("two"));
  CHECK((within_deadline(std::move(s.first))
         == saying{.messages = {{"user", "and?"}},
                   .history = {{"system", "Be brief."}, {"user", "Hi"}, {"assistant", "two"}},
                   .rewritten = true}));
  auto second = s.at.take(
      {{1, 0}, 0}, {.text = "<tool_call>\n{}</tool_call>", .content = "", .calls = {{.name = "f", .arguments = "{}"}}});
  const auto called = message_in(other.get());
  // A request from before: its calls come as OpenAI writes them, and stand as they were sampled.
  auto shorter = s.at.posted(chat_of(s.id), asking({{{"role", "user"}, {"content", "In short:"}},
                                                    called,
                                                    {{"role", "tool"}, {"content", "3"}, {"tool_call_id", "x"}}}));
  CHECK((within_deadline(std::move(second))
         == saying{.messages = {{"tool", "3"}},
                   .history = {{"user", "In short:"}, {"assistant", "<tool_call>\n{}</tool_call>"}},
                   .rewritten = true}));
  auto third = s.at.take({{1, 0}, 0}, {.text = "three"});
  CHECK(message_in(shorter.get())["content"] == "three");
  // Behind it a conversation only grows again.
  auto longer = s.at.posted(chat_of(s.id), asking({{{"role", "user"}, {"content", "In short:"}},
                                                   called,
                                                   {{"role", "tool"}, {"content", "3"}, {"tool_call_id", "x"}},
                                                   {{"role", "assistant"}, {"content", "three"}},
                                                   {{"role", "user"}, {"content", "more"}}}));
  CHECK((within_deadline(std::move(third)) == saying{.messages = {{"user", "more"}}}));
  // While its turn is written nobody else asks.
  const auto early = s.at.post(chat_of(s.id), asking({{{"role", "user"}, {"content", "?"}}}));
  CHECK(early.status == 409);
  CHECK(early.error()
        == "found other messages while the turn to the request before them is written, want one request at a time");
  s.at.take({{1, 0}, 0}, {.text = "four"});
  CHECK(message_in(longer.get())["content"] == "four");
  CHECK(s.at.post(chat_of(s.id),
                  asking({{{"role", "user"}, {"content", "?"}}, {{"role", "assistant"}, {"content", "!"}}}))
            .error()
        == R"(messages[1].role: found "assistant", want "user" or "tool" behind what was said)");
}

TEST_CASE("endpoint environment: turns that read alike to the client stand as each was sampled") {
  begun_session s;
  const tool_call call{.name = "f", .arguments = "{}"};
  const auto spelled = [](int spaces) {
    return "<tool_call>{" + std::string(static_cast<std::size_t>(spaces), ' ') + "}";
  };
  auto messages = hello;
  messages.push_back(message("assistant", "one"));
  for (int turn = 1; turn <= 2; ++turn) {
    messages.push_back(message("user", "again"));
    auto reply = s.at.posted(chat_of(s.id), asking(messages));
    within_deadline(std::move(s.first));
    s.first = s.at.take({{1, 0}, 0}, {.text = spelled(turn), .content = "", .calls = {call}});
    messages.push_back(message_in(reply.get()));
  }
  messages[0]["content"] = "Be long.";
  messages.push_back(message("user", "and now?"));
  auto branch = s.at.posted(chat_of(s.id), asking(messages));
  const auto what = within_deadline(std::move(s.first));
  REQUIRE(what.history.size() == 7);
  CHECK(what.history[4].content == spelled(1));
  CHECK(what.history[6].content == spelled(2));
  s.at.take({{1, 0}, 0}, {.text = "end"});
  CHECK(branch.get().status == 200);
}

TEST_CASE("endpoint environment: a request that says nothing is refused in one line") {
  begun_session s;
  CHECK(s.at.post(chat_of(s.id), asking(hello, {{"tools", {{{"function", {{"name", "f"}}}}}}})).status == 409);
  auto wizard = s.after("one");
  wizard["messages"].back()["role"] = "system";
  CHECK(s.at.post(chat_of(s.id), wizard).error()
        == R"(messages[3].role: found "system", want "user" or "tool" behind what was said)");
  wizard["messages"].erase(3);
  CHECK(s.at.post(chat_of(s.id), wizard).error()
        == "messages: found none behind the last turn, want what is said to it");
  auto right = s.at.posted(chat_of(s.id), s.after("one"));
  CHECK((within_deadline(std::move(s.first)) == saying{.messages = {{"user", "and?"}}}));
  s.at.take({{1, 0}, 0}, {.text = "three"});
  CHECK(message_in(right.get())["content"] == "three");
}

TEST_CASE("endpoint environment: an episode may begin with calls of tools") {
  const open_endpoint at;
  auto opened = at.begin({1, 0});
  json calls = message("assistant", "");
  calls["tool_calls"] = {{{"type", "function"}, {"id", "x"}, {"function", {{"name", "f"}, {"arguments", "{}"}}}}};
  json result = message("tool", "3");
  result["tool_call_id"] = "x";
  auto reply = at.posted(chat_of(at.seat()), asking(json::array({message("user", "?"), calls, result})));
  const auto begins = within_deadline(std::move(opened));
  REQUIRE(begins.prompt.size() == 3);
  CHECK(begins.prompt[1].role == "assistant");
  CHECK(begins.prompt[1].content == "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>");
  CHECK(begins.prompt[2] == chat_turn{"tool", "3"});
  at.take({{1, 0}, 0}, {.text = "one"});
  CHECK(reply.get().status == 200);
}

} // namespace endpoint_histories_test
