#include "runtime/endpoint/generation.hpp"
#include "runtime/endpoint/model_service.hpp"
#include "runtime/model/chat_tokens.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/openai/server.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/running_command.hpp"

#include <boost/beast/http.hpp>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <future>

namespace endpoint_server_test {

using namespace millrace;
using namespace millrace::endpoint;
using nlohmann::json;
using openai::server;
using openai::server_options;
using tests::wait_until;

namespace {

namespace http = boost::beast::http;

/// The tiny chat model behind a port that is free.
struct served {
  model::checkpoint about = model::load_checkpoint("tests/golden/models/tiny-chat");
  std::shared_ptr<const model::decoder> policy =
      model::inference_decoder(about.config, std::exchange(about.parameters, {}), at::kCPU);
  served_model what;
  generation from;
  model_service answers;
  server open;

  explicit served(server_options options = {}, std::int32_t slots = 8, std::size_t waiting = 100)
      : what{.defaults = {.model = "tiny-chat", .end_tokens = about.config.eos_ids, .max_context = 256},
             .name = "tiny-chat",
             .tok = about.tok,
             .encode_chat = [this](const auto& turns,
                                   const auto& tools) { return model::encode_chat(about, turns, tools); },
             .vocabulary = about.config.vocab_size,
             .created = 1},
        from(engine(slots), waiting), answers(what, from.clients()), open(with_address(std::move(options)), answers) {}

  rollout::engine engine(std::int32_t slots = 8) const {
    return {policy, about.tok, 0, {.slots = slots, .max_context = 256}};
  }

  static server_options with_address(server_options options) {
    options.at = *parse_listen_address("127.0.0.1:0");
    return options;
  }
};

using client = tests::http_client;

std::string chat(const json& more = json::object()) {
  json body{{"messages", {{{"role", "user"}, {"content", "say it"}}}}, {"max_tokens", 20}, {"temperature", 0}};
  body.update(more);
  return body.dump();
}

constexpr const char* chat_route = "/v1/chat/completions";

std::vector<json> events_of(const std::string& stream) {
  std::vector<json> events;
  std::size_t at = 0;
  for (auto end = stream.find("\n\n"); end != std::string::npos; at = end + 2, end = stream.find("\n\n", at)) {
    const auto line = stream.substr(at, end - at);
    REQUIRE(line.starts_with("data: "));
    if (line == "data: [DONE]") {
      CHECK(end + 2 == stream.size());
      return events;
    }
    events.push_back(json::parse(line.substr(6)));
  }
  FAIL("the stream has no end");
  return events;
}

} // namespace

TEST_CASE("a chat completion is what the engine says") {
  served s;
  auto engine = s.engine();
  engine.admit({.group = 1,
                .prompt = s.what.encode_chat({{"user", "say it"}}, {}),
                .how = {.temperature = 0, .end_tokens = s.about.config.eos_ids, .max_new_tokens = 20}});
  std::vector<rollout::finished_group> done;
  while (done.empty())
    done = engine.step();
  client c(s.open.port());
  const auto reply = c.ask(http::verb::post, chat_route, chat({{"return_token_ids", true}, {"logprobs", true}}));
  REQUIRE(reply.status == 200);
  const auto said = reply.parsed();
  const auto& choice = said["choices"][0];
  CHECK(choice["message"]["content"] == done[0].answers[0].text);
  CHECK(choice["token_ids"] == done[0].answers[0].tokens);
  for (std::size_t i = 0; i < done[0].answers[0].tokens.size(); ++i)
    CHECK(choice["logprobs"]["content"][i]["logprob"].get<float>() == done[0].answers[0].logprob[i]);
  CHECK(said["usage"]["prompt_tokens"] == done[0].prompt_tokens);
  CHECK(said["usage"]["completion_tokens"] == done[0].answers[0].tokens.size());
  // The prompt's own tokens give the same, over the same connection.
  const json again{{"prompt", s.what.encode_chat({{"user", "say it"}}, {})}, {"max_tokens", 20}, {"temperature", 0}};
  CHECK(c.ask(http::verb::post, "/v1/completions", again.dump()).parsed()["choices"][0]["text"]
        == done[0].answers[0].text);
}

TEST_CASE("a stream says what the whole reply says, for each answer, and the same seed says it again") {
  served s;
  client c(s.open.port());
  for (const json& more : {json{{"n", 3}, {"seed", 5}, {"temperature", 1}},
                           json{{"stop", {"e", "a b"}}, {"temperature", 1}, {"seed", 2}, {"n", 2}}}) {
    const auto whole = c.ask(http::verb::post, chat_route, chat(more)).parsed();
    auto streamed = more;
    streamed.update({{"stream", true}, {"stream_options", {{"include_usage", true}}}});
    const auto events = events_of(c.ask(http::verb::post, chat_route, chat(streamed)).body);
    std::vector<std::string> texts(whole["choices"].size()), ends(texts.size());
    for (const auto& event : events) {
      CHECK(event["object"] == "chat.completion.chunk");
      for (const auto& choice : event["choices"]) {
        const auto index = choice["index"].get<std::size_t>();
        texts[index] += choice["delta"].value("content", "");
        if (!choice["finish_reason"].is_null())
          ends[index] = choice["finish_reason"];
      }
    }
    for (const auto& choice : whole["choices"]) {
      const auto index = choice["index"].get<std::size_t>();
      CHECK(texts[index] == choice["message"]["content"]);
      CHECK(ends[index] == choice["finish_reason"]);
      for (const auto& stop : more.value("stop", json::array()))
        CHECK(texts[index].find(stop.get<std::string>()) == std::string::npos);
    }
    CHECK(events.back()["usage"] == whole["usage"]);
  }
}

TEST_CASE("several prompts are answered in their order") {
  served s;
  client c(s.open.port());
  const auto one = [&](const std::string& prompt) {
    return c.ask(http::verb::post, "/v1/completions", json{{"prompt", prompt}, {"temperature", 0}}.dump())
        .parsed()["choices"][0]["text"];
  };
  const auto both =
      c.ask(http::verb::post, "/v1/completions", json{{"prompt", {"one", "two"}}, {"temperature", 0}}.dump()).parsed();
  CHECK(both["choices"][0]["text"] == one("one"));
  CHECK(both["choices"][1]["text"] == one("two"));
  CHECK(both["usage"]["completion_tokens"] == 32);
}

TEST_CASE("clients at the same time do not change each other's answers") {
  served s;
  const auto ask = [&](int i) {
    client c(s.open.port());
    return c.ask(http::verb::post, chat_route, chat({{"temperature", 1}, {"seed", i}}))
        .parsed()["choices"][0]["message"]["content"]
        .get<std::string>();
  };
  std::vector<std::string> alone;
  for (int i = 0; i < 12; ++i)
    alone.push_back(ask(i));
  std::vector<std::future<std::string>> all;
  for (int i = 0; i < 12; ++i)
    all.push_back(std::async(std::launch::async, ask, i));
  for (std::size_t i = 0; i < all.size(); ++i)
    CHECK(all[i].get() == alone[i]);
}

TEST_CASE("routes, and what is refused") {
  served s({.token = "0123456789abcdef", .longest_body = 2000});
  const std::string token = "0123456789abcdef";
  const auto asked = [&](http::verb verb, const std::string& target, const std::string& body = "",
                         const std::string& shown = "0123456789abcdef", const std::string& type = "application/json") {
    client c(s.open.port());
    return c.ask(verb, target, body, shown, type);
  };
  CHECK(asked(http::verb::get, "/health").parsed()["status"] == "ok");
  CHECK(asked(http::verb::get, "/v1/models").parsed()["data"][0]["id"] == "tiny-chat");
  CHECK(asked(http::verb::get, "/v1/models/tiny-chat").parsed()["max_model_len"] == 256);
  CHECK(asked(http::verb::get, "/v1/models/other").status == 404);
  CHECK(asked(http::verb::get, "/health", "", "").status == 401);
  CHECK(asked(http::verb::get, "/health", "", "0123456789abcdeg").status == 401);
  CHECK(asked(http::verb::post, chat_route, chat(), token, "text/plain").status == 415);
  CHECK(asked(http::verb::get, chat_route).status == 405);
  CHECK(asked(http::verb::put, chat_route, chat()).status == 405);
  CHECK(asked(http::verb::post, "/v1/embeddings", "{}").status == 404);
  CHECK(asked(http::verb::post, chat_route, std::string(2001, ' ')).status == 413);
  CHECK(asked(http::verb::post, chat_route, "{").status == 400);
  CHECK(asked(http::verb::post, chat_route, chat({{"model", "gpt"}})).parsed()["error"]["code"] == "model_not_found");
  const auto wrong_role =
      asked(http::verb::post, chat_route, json{{"messages", {{{"role", "wizard"}, {"content", "x"}}}}}.dump());
  CHECK(wrong_role.status == 400);
  CHECK(wrong_role.parsed()["error"]["param"] == "messages");
  const auto long_prompt =
      asked(http::verb::post, "/v1/completions", json{{"prompt", std::vector<int>(256, 5)}}.dump());
  CHECK(long_prompt.status == 400);
  CHECK(long_prompt.parsed()["error"]["message"] == "found a prompt of 256 tokens, want fewer than the context's 256");
  const auto strange = asked(http::verb::post, "/v1/completions", json{{"prompt", {100'000}}}.dump());
  CHECK(strange.parsed()["error"]["message"].get<std::string>().starts_with(
      "prompt: found token 100000, want one from 0 to "));
}

TEST_CASE("a client that goes away has its answers dropped") {
  served s({}, 1);
  for (const bool stream : {false, true}) {
    CAPTURE(stream);
    {
      client c(s.open.port());
      c.send(http::verb::post, chat_route,
             chat({{"max_tokens", 100'000}, {"ignore_eos", true}, {"stream", stream}, {"n", 60}}));
      CHECK(wait_until([&] { return s.from.clients().under_way() == 1; }));
    }
    CHECK(wait_until([&] { return s.from.clients().under_way() == 0; }));
    CHECK(wait_until([&] { return s.open.connections() == 0; }));
  }
}

TEST_CASE("where too many wait, clients are told to come again") {
  served s({}, 1, 2);
  client busy(s.open.port());
  busy.send(http::verb::post, chat_route, chat({{"max_tokens", 100'000}, {"ignore_eos", true}, {"n", 64}}));
  CHECK(wait_until([&] { return s.from.clients().waiting() > 2; }));
  client other(s.open.port());
  const auto refused = other.ask(http::verb::post, chat_route, chat({{"max_tokens", 1}}));
  CHECK(refused.status == 429);
  CHECK(refused.retry_after == "1");
  CHECK(refused.parsed()["error"]["type"] == "rate_limit_error");
}

TEST_CASE("more clients than may be are told to come again") {
  served s({.connections = 1});
  client first(s.open.port());
  CHECK(wait_until([&] { return s.open.connections() == 1; }));
  client second(s.open.port());
  CHECK(second.take().status == 503);
}

TEST_CASE("a request that comes while another is answered is answered after it") {
  served s;
  client c(s.open.port());
  c.send(http::verb::post, chat_route, chat());
  c.send(http::verb::get, "/health", "");
  CHECK(c.take().parsed()["object"] == "chat.completion");
  CHECK(c.take().parsed()["status"] == "ok");
}

TEST_CASE("the server ends while answers are under way") {
  std::optional<client> c;
  {
    served s;
    c.emplace(s.open.port());
    c->send(http::verb::post, chat_route, chat({{"max_tokens", 100'000}, {"ignore_eos", true}, {"stream", true}}));
    CHECK(wait_until([&] { return s.from.clients().under_way() == 1; }));
  }
  CHECK_THROWS(c->take());
}

TEST_CASE("a port that is taken is one line") {
  served s;
  server_options options{.at = {"127.0.0.1", s.open.port()}};
  CHECK_THROWS_WITH_AS(server(options, s.answers), doctest::Contains("want an address of this host and a free port"),
                       input_error);
}

} // namespace endpoint_server_test
