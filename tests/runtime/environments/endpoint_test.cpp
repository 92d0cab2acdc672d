#include "tests/runtime/environments/endpoint_clients.hpp"
#include "tests/support/running_command.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <optional>

namespace endpoint_environment_test {
using namespace millrace;
using namespace millrace::tests;
using namespace millrace::tests::endpoint_clients;

TEST_CASE("endpoint environment: a client's conversation is an episode") {
  const open_endpoint at;
  auto opened = at.begin({7, 2});
  const auto row = at.post("/v1/episodes").parsed();
  CHECK(row["messages"] == json::array({message("user", "What is 2 + 3?")}));
  CHECK(row["answer"] == "5");
  CHECK(row["ground_truth"] == "5");
  const auto id = row["id"].get<std::string>();
  auto first = at.posted(chat_of(id), asking(hello));
  const auto begins = within_deadline(std::move(opened));
  CHECK((begins.prompt == std::vector<chat_turn>{{"system", "Be brief."}, {"user", "Hi"}}));
  CHECK(begins.tools.empty());
  auto to_first = at.take({{7, 2}, 0}, {.text = "Hello"});
  const auto reply = first.get().parsed();
  CHECK(reply["object"] == "chat.completion");
  CHECK(reply["choices"][0]["message"]["content"] == "Hello");
  CHECK(reply["choices"][0]["finish_reason"] == "stop");
  CHECK(to_first.wait_for(0s) == std::future_status::timeout);
  auto messages = hello;
  messages.push_back(reply["choices"][0]["message"]);
  messages.push_back(message("user", "And 2 + 3?"));
  messages.push_back(message("user", "Quick."));
  CHECK(at.post("/v1/episodes/" + id + "/reward", {{"reward", 0.25}, {"done", false}}).parsed()["done"] == false);
  auto second = at.posted(chat_of(id), asking(messages));
  CHECK((within_deadline(std::move(to_first))
         == saying{.messages = {{"user", "And 2 + 3?"}, {"user", "Quick."}}, .reward = 0.25}));
  auto to_second = at.take({{7, 2}, 0}, {.text = "5", .cut_off = true});
  CHECK(second.get().parsed()["choices"][0]["finish_reason"] == "length");
  CHECK(at.post("/v1/episodes/" + id + "/reward", {{"reward", 0.5}, {"done", false}}).status == 200);
  CHECK(at.post("/v1/episodes/" + id + "/reward", {{"reward", 1}}).parsed() == json{{"id", id}, {"done", true}});
  CHECK((within_deadline(std::move(to_second)) == saying{.reward = 1.5, .done = true}));
  for (const auto& gone : {at.post(chat_of(id), asking(messages)), at.post("/v1/episodes/" + id + "/reward")}) {
    CHECK(gone.status == 410);
    CHECK(gone.error() == "episode " + id + ": it is done");
  }
}

TEST_CASE("endpoint environment: tools are offered, called and answered as OpenAI has them") {
  const open_endpoint at;
  auto opened = at.begin({1, 0});
  const auto id = at.seat();
  const json tools = {{{"type", "function"}, {"function", {{"name", "add"}, {"parameters", {{"type", "object"}}}}}}};
  auto first = at.posted(chat_of(id), asking(hello, {{"tools", tools}}));
  CHECK(json::parse(within_deadline(std::move(opened)).tools.at(0)) == tools[0]);
  auto to_first = at.take({{1, 0}, 0}, {.text = "<tool_call>...",
                                        .content = "Let me see.",
                                        .calls = {{.name = "add", .arguments = R"({"a": 2, "b": [1, 2]})"}}});
  const auto reply = first.get().parsed()["choices"][0];
  CHECK(reply["finish_reason"] == "tool_calls");
  const auto& call = reply["message"]["tool_calls"][0];
  CHECK(call["function"]["name"] == "add");
  CHECK(json::parse(call["function"]["arguments"].get<std::string>()) == json{{"a", 2}, {"b", {1, 2}}});
  auto messages = hello;
  auto repeated = reply["message"];
  repeated["tool_calls"][0]["function"]["arguments"] = R"({"a":2,"b":[1,2]})"; // the same value, other spaces
  messages.push_back(repeated);
  messages.push_back({{"role", "tool"}, {"tool_call_id", call["id"]}, {"content", "3"}});
  auto second = at.posted(chat_of(id), asking(messages, {{"tools", tools}}));
  CHECK((within_deadline(std::move(to_first)) == saying{.messages = {{"tool", "3"}}}));
  // A malformed call stays text.
  at.take({{1, 0}, 0}, {.text = "<tool_call>{</tool_call>", .content = "", .calls = {{.error = "no JSON"}}});
  const auto text = second.get().parsed()["choices"][0];
  CHECK(text["message"]["content"] == "<tool_call>{</tool_call>");
  CHECK(text["finish_reason"] == "stop");
  CHECK(!text["message"].contains("tool_calls"));
}

TEST_CASE("endpoint environment: the sessions of a group begin alike") {
  const open_endpoint at;
  auto opened = at.begin({1, 0}, 3);
  const auto a = at.seat(), b = at.seat(), c = at.seat();
  auto first = at.posted(chat_of(a), asking(hello));
  within_deadline(std::move(opened));
  auto other = hello;
  other[1]["content"] = "Hi, I am session 2";
  const auto refused = at.post(chat_of(b), asking(other));
  CHECK(refused.status == 409);
  CHECK(refused.error()
        == R"(messages[1]: found user "Hi, I am session 2", want user "Hi": the episodes of a group begin alike)");
  CHECK(at.post(chat_of(c), asking(hello, {{"tools", {{{"function", {{"name", "f"}}}}}}})).error()
        == "tools: found others than those that the group's first request offered");
  auto longer = hello;
  longer.push_back(message("user", "?"));
  CHECK(at.post(chat_of(c), asking(longer)).error()
        == "messages: found 3, want the 2 that the group's other episodes begin with");
  auto same = at.posted(chat_of(b), asking(hello));
  at.take({{1, 0}, 1}, {.text = "to b"});
  at.take({{1, 0}, 0}, {.text = "to a"});
  at.take({{1, 0}, 2}, {.text = "to c"}); // before its client asks
  CHECK(message_in(first.get())["content"] == "to a");
  CHECK(message_in(same.get())["content"] == "to b");
  CHECK(message_in(at.post(chat_of(c), asking(hello)))["content"] == "to c");
}

TEST_CASE("endpoint environment: a request that comes again is told the same turn") {
  begun_session s;
  CHECK(message_in(s.at.post(chat_of(s.id), asking(hello)))["content"] == "one");
  CHECK(s.first.wait_for(0s) == std::future_status::timeout);
  // The client goes away while its next turn is written.
  std::optional<http_client> torn(s.at.port());
  torn->send(verb::post, chat_of(s.id), s.after("one").dump());
  CHECK(within_deadline(std::move(s.first)).messages.size() == 1);
  torn.reset();
  auto again = s.at.posted(chat_of(s.id), s.after("one"));
  const auto newest = s.at.posted(chat_of(s.id), s.after("one"));
  s.at.take({{1, 0}, 0}, {.text = "two"});
  const auto reply = again.get();
  if (reply.status != 200) { // the other came later
    CHECK(reply.error() == "the same request came again: that one is answered");
    CHECK(message_in(s.at.post(chat_of(s.id), s.after("one")))["content"] == "two");
  } else {
    CHECK(message_in(reply)["content"] == "two");
  }
}

TEST_CASE("endpoint environment: replies count tokens as OpenAI does, whole and as a stream") {
  const open_endpoint at;
  auto opened = at.begin({1, 0}, 2);
  const auto a = at.seat(), b = at.seat();
  auto whole = at.posted(chat_of(a), asking(hello));
  auto stream = at.posted(chat_of(b), asking(hello, {{"stream", true}, {"stream_options", {{"include_usage", true}}}}));
  within_deadline(std::move(opened));
  for (const std::int32_t answer : {0, 1})
    at.take({{1, 0}, answer}, {.text = "one", .prompt_tokens = 12, .tokens = 3});
  const json want{{"prompt_tokens", 12}, {"completion_tokens", 3}, {"total_tokens", 15}};
  CHECK(whole.get().parsed().at("usage") == want);
  CHECK(stream.get().body.find("\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3,\"total_tokens\":15}")
        != std::string::npos);
}

TEST_CASE("endpoint environment: who asks is told tokens and their log-probabilities, whole and in a stream") {
  const open_endpoint at;
  auto opened = at.begin({1, 0}, 3);
  const json tokens{{"return_token_ids", true}, {"logprobs", true}};
  auto streamed = tokens;
  streamed["stream"] = true;
  const auto a = at.seat(), b = at.seat(), c = at.seat();
  auto whole = at.posted(chat_of(a), asking(hello, tokens));
  auto stream = at.posted(chat_of(b), asking(hello, streamed));
  auto plain = at.posted(chat_of(c), asking(hello));
  within_deadline(std::move(opened));
  const sampled_turn sampled{.behind = {5, 6, 7}, .tokens = {8, 9}, .logprobs = {-0.5F, -2}, .texts = {"\xc3", "\xa9"}};
  for (const std::int32_t answer : {0, 1, 2})
    at.take({{1, 0}, answer}, {.text = "\u00e9", .prompt_tokens = 3, .tokens = 2, .sampled = sampled});
  const auto reply = whole.get().parsed();
  CHECK(reply["prompt_token_ids"] == json{5, 6, 7});
  CHECK(reply["choices"][0]["token_ids"] == json{8, 9});
  const auto& content = reply["choices"][0]["logprobs"]["content"];
  REQUIRE(content.size() == 2);
  CHECK(content[1]["logprob"] == -2);
  CHECK(content[1]["bytes"] == json{0xa9});
  const auto events = stream.get().body;
  CHECK(events.find("\"token_ids\":[8,9]") != std::string::npos);
  CHECK(events.find("\"prompt_token_ids\":[5,6,7]") != std::string::npos);
  const auto without = plain.get().parsed();
  CHECK(!without.contains("prompt_token_ids"));
  CHECK(!without["choices"][0].contains("token_ids"));
  CHECK(without["choices"][0]["logprobs"].is_null());
}

TEST_CASE("endpoint environment: a session may name itself in a field") {
  const open_endpoint at;
  auto opened = at.begin({1, 0});
  auto first = at.posted("/v1/chat/completions", asking(hello), "task-17");
  within_deadline(std::move(opened));
  auto said = at.take({{1, 0}, 0}, {.text = "one"});
  CHECK(message_in(first.get())["content"] == "one");
  CHECK(at.post("/v1/episodes/task-17/reward", {{"reward", 2}}).status == 200);
  CHECK((within_deadline(std::move(said)) == saying{.reward = 2, .done = true}));
  CHECK(at.post("/v1/chat/completions", asking(hello), "task-17").status == 410);
}

TEST_CASE("endpoint environment: a stream says the turn in one piece") {
  const open_endpoint at;
  auto opened = at.begin({1, 0});
  const auto id = at.seat();
  auto first = at.posted(chat_of(id), asking(hello, {{"stream", true}}));
  within_deadline(std::move(opened));
  at.take({{1, 0}, 0}, {.text = "all of it"});
  const auto stream = first.get().body;
  CHECK(stream.ends_with("data: [DONE]\n\n"));
  CHECK(stream.find(R"("delta":{"content":"all of it"})") != std::string::npos);
  CHECK(stream.find(R"("finish_reason":"stop")") != std::string::npos);
}

TEST_CASE("endpoint environment: the last turn is given, and its reward counts") {
  begun_session s(true), t(true);
  CHECK(s.at.post("/v1/episodes/" + s.id + "/reward", {{"reward", 3}}).status == 200);
  CHECK((within_deadline(std::move(s.first)) == saying{.reward = 3, .done = true}));
  const auto too_many = "episode " + t.id + ": it has ended with its last turn; a reward for it is taken for 10 s";
  CHECK(t.at.post(chat_of(t.id), t.after("one")).error() == too_many);
  CHECK(t.at.post("/v1/episodes/" + t.id + "/reward", {{"reward", 2}}).status == 200);
  CHECK((within_deadline(std::move(t.first)) == saying{.reward = 2, .done = true}));
  CHECK(t.at.post(chat_of(t.id), t.after("one")).error() == "episode " + t.id + ": it is done");
}

TEST_CASE("endpoint environment: an episode that nobody asked for is given back, and another client has it") {
  const open_endpoint at;
  auto opened = at.begin({1, 0});
  const auto first = at.seat();
  CHECK(at.post("/v1/episodes/" + first + "/reward").status == 200);
  CHECK(at.post(chat_of(first), asking(hello)).error() == "episode " + first + ": it was given back");
  const auto second = at.seat();
  CHECK(second != first);
  auto reply = at.posted(chat_of(second), asking(hello));
  within_deadline(std::move(opened));
  auto said = at.take({{1, 0}, 0}, {.text = "one", .last = true});
  CHECK(reply.get().parsed()["choices"][0]["last_turn"] == true);
}

TEST_CASE("endpoint environment: where no room is left for what was said, the client is told so at once") {
  begun_session s;
  auto waits = s.at.posted(chat_of(s.id), s.after("one"));
  CHECK(within_deadline(std::move(s.first)).messages.size() == 1);
  s.at.plays->over({{1, 0}, 0});
  const auto told = waits.get();
  CHECK(told.status == 410);
  CHECK(told.error() == "episode " + s.id + ": no room is left for another turn");
}

TEST_CASE("endpoint environment: what cannot be served is one line") {
  begun_session s;
  const auto refusal = [&](const std::string& path, const json& body, const std::string& session = "") {
    const auto reply = s.at.post(path, body, session);
    return std::to_string(reply.status) + " " + reply.error();
  };
  const auto reward = "/v1/episodes/" + s.id + "/reward";
  CHECK(
      refusal("/v1/chat/completions", asking(hello))
      == "400 found no episode, want " + s.at.plays->url()
             + "/v1/episodes/ID as the client's base_url, or the field X-Session-Id; a request of no episode is for a "
               "rollout's `serve`");
  CHECK(refusal("/v1/chat/completions", asking(hello), "a/b").starts_with("400 X-Session-Id: want 1 to 200 letters"));
  CHECK(refusal(chat_of("ep-0"), asking(hello)) == "404 episode ep-0: this run gave nobody that id");
  CHECK(refusal("/v1/episodes/ep-0/reward", json::object()) == "404 episode ep-0: this run gave nobody that id");
  CHECK(refusal("/v1/completions", {}) == "400 /v1/completions: want chat/completions: an episode is a conversation");
  CHECK(refusal("/v1/other", {}).starts_with("404 want /v1/episodes, "));
  CHECK(refusal("/health", {}) == "405 want GET /health");
  CHECK(refusal(chat_of(s.id), asking(hello, {{"n", 2}})) == "400 n: found 2, want an integer from 1 to 1");
  CHECK(refusal(chat_of(s.id), json::array()) == "400 the body: found [], want a JSON object");
  CHECK(refusal(reward, {{"reward", "much"}}) == R"(400 reward: found "much", want a number from -1e9 to 1e9)");
  CHECK(refusal(reward, {{"reward", 1e300}}).starts_with("400 reward: found "));
  CHECK(refusal(reward, {{"done", 1}}) == "400 done: found 1, want true or false");
  CHECK(refusal(reward, {{"done", false}}) == "400 found no reward and an episode that goes on, want one of them");
  const auto none = http_client(s.at.port()).ask(verb::post, reward, "{");
  CHECK(none.status == 400);
  CHECK(none.error().starts_with("the body is no JSON: "));
  auto opened = s.at.begin({2, 0}, 2);
  const auto other = s.at.seat();
  CHECK(refusal("/v1/episodes/" + other + "/reward", {{"reward", 1}})
        == "400 episode " + other + ": found a reward before its first turn");
  CHECK(refusal(chat_of(other), asking(json::array({message("wizard", "?")})))
        == R"(400 messages[0].role: found "wizard", want "system", "user", "assistant" or "tool")");
  auto next = s.at.posted(chat_of(s.id), s.after("one"));
  within_deadline(std::move(s.first));
  CHECK(refusal(reward, {{"reward", 1}})
        == "409 episode " + s.id + ": its next turn is being written: a reward is of the last one");
  s.at.take({{1, 0}, 0}, {.text = "end"});
  CHECK(next.get().status == 200);
  http_client plain(s.at.port());
  CHECK(plain.ask(verb::get, "/v1/models").parsed()["data"][0]["id"] == "policy");
  CHECK(plain.ask(verb::get, "/v1/episodes/" + s.id + "/models").status == 200);
  CHECK(plain.ask(verb::get, "/health").body == R"({"status":"ok"})");
}

TEST_CASE("endpoint environment: clients that do not come cost their group, with a line that says so") {
  const open_endpoint at(150ms);
  auto nobody = at.begin({1, 0});
  CHECK(error_of(nobody) == "no client began at " + at.plays->url() + " within 0.1 s");
  begun_session vanished(false, 150ms);
  CHECK(error_of(vanished.first) == "the client of episode " + vanished.id + " did not go on within 0.1 s");
  const auto gone = vanished.at.post(chat_of(vanished.id), vanished.after("one"));
  CHECK(gone.status == 410);
  CHECK(gone.error() == "episode " + vanished.id + ": its client did not go on in time");
  // An episode that is over is nobody's.
  auto opened = vanished.at.begin({2, 0}, 2);
  const auto id = vanished.at.seat();
  const auto first = vanished.at.posted(chat_of(id), asking(hello));
  within_deadline(std::move(opened));
  auto untaken = vanished.at.take({{2, 0}, 1}, {.text = "to nobody"});
  CHECK(error_of(untaken) == "no client took answer 1 at " + vanished.at.plays->url() + " within 0.1 s");
  auto next = vanished.at.begin({3, 0});
  auto second = vanished.at.posted(chat_of(vanished.at.seat()), asking(hello));
  within_deadline(std::move(next));
  vanished.at.take({{3, 0}, 0}, {.text = "three"});
  CHECK(message_in(second.get())["content"] == "three");
  vanished.at.plays->end({2, 0}); // the first request of {2, 0} is still open
}

TEST_CASE("endpoint environment: who waits for clients has a name") {
  const auto waits = [] {
    std::string lines;
    for (const auto& wait : telemetry::process_waits().open())
      lines += wait.who + " waits for " + wait.what;
    return lines;
  };
  open_endpoint at;
  const auto waits_for = "endpoint " + at.plays->url() + " waits for clients: ";
  auto opened = at.begin({1, 0}, 2);
  CHECK(wait_until([&] { return waits() == waits_for + "episodes to take 2, to go on with 0"; }));
  const auto id = at.seat();
  CHECK(wait_until([&] { return waits() == waits_for + "episodes to take 1, to go on with 1"; }));
  auto first = at.posted(chat_of(id), asking(hello));
  within_deadline(std::move(opened));
  CHECK(wait_until([&] { return waits() == ""; })); // the policy writes
  at.take({{1, 0}, 0}, {.text = "one"});
  CHECK(first.get().status == 200);
  CHECK(wait_until([&] { return waits() == waits_for + "episodes to take 0, to go on with 1"; }));
  at.plays.reset();
  CHECK(waits() == "");
}

TEST_CASE("endpoint environment: where no episode waits for a client, it is told to come again") {
  const open_endpoint at(60s, 50ms);
  const auto reply = at.post("/v1/episodes");
  CHECK(reply.status == 429);
  CHECK(reply.retry_after == "1");
  CHECK(reply.error() == "no episode waits for a client within 0.1 s; try again");
  CHECK(at.post("/v1/chat/completions", asking(hello), "mine").status == 429);
}

TEST_CASE("endpoint environment: a client in line has the next episode, one that went away none") {
  const open_endpoint at;
  std::optional<http_client> gone(at.port());
  gone->send(verb::post, "/v1/episodes", "{}");
  CHECK(wait_until([&] { return at.plays->connections() == 1; }));
  gone.reset();
  CHECK(wait_until([&] { return at.plays->connections() == 0; }));
  auto waits = at.posted("/v1/episodes");
  auto opened = at.begin({1, 0}, 2);
  CHECK(waits.get().status == 200);
  CHECK(at.post("/v1/episodes").status == 200);
}

TEST_CASE("endpoint environment: nobody is left waiting when a group or the run ends") {
  open_endpoint at;
  auto opened = at.begin({1, 0}, 2);
  const auto a = at.seat();
  auto open = at.posted(chat_of(a), asking(hello));
  within_deadline(std::move(opened));
  at.plays->end({1, 0});
  const auto ended = open.get();
  CHECK(ended.status == 410);
  CHECK(ended.error() == "episode " + a + ": its group has ended");
  auto next = at.begin({2, 0});
  const auto b = at.seat();
  http_client asks(at.port()), in_line(at.port());
  asks.send(verb::post, chat_of(b), asking(hello).dump());
  within_deadline(std::move(next));
  in_line.send(verb::post, "/v1/episodes", "{}");
  at.plays.reset();
  const auto closed = asks.take();
  CHECK(closed.status == 503);
  CHECK(closed.error() == "the run has ended");
  CHECK_THROWS(asks.take());
}

TEST_CASE("endpoint environment: an address or a token that cannot be had is one line") {
  const open_endpoint at;
  const auto why = [](const std::string& serve, const std::string& token_file = "") -> std::string {
    option_values given{{"serve", serve}};
    if (!token_file.empty())
      given.emplace("token_file", token_file);
    try {
      return made("endpoint", given)->unusable();
    } catch (const input_error& wrong) {
      return wrong.what();
    }
  };
  const auto taken = "127.0.0.1:" + std::to_string(at.port());
  CHECK(why(taken)
        == "cannot listen on " + taken + " (Address already in use): want an address of this host and a free port");
  CHECK(why("8000") == "serve: found '8000', want an address of this host and a port: 127.0.0.1:8000");
  CHECK(why("0.0.0.0:8000").starts_with("serve: found '0.0.0.0:8000', which others can reach, want token_file too"));
  CHECK(why("127.0.0.1:0", "/nowhere/token").find("/nowhere/token") != std::string::npos);
}

} // namespace endpoint_environment_test
