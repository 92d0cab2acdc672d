#include "runtime/openai/reply_text.hpp"
#include "runtime/text/tokenizer.hpp"
#include "runtime/text/tokenizer_json.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

namespace reply_text_test {

using namespace millrace;
using namespace millrace::openai;
using nlohmann::json;

namespace {

const text::tokenizer& words() {
  static const text::tokenizer tok(text::read_tokenizer_json("tests/golden/models/tiny-chat/tokenizer.json"));
  return tok;
}

choice_piece piece_of(const std::string& text) {
  choice_piece piece{.text = text, .tokens = words().encode(text), .end = rollout::finish_reason::stop};
  piece.logprobs.assign(piece.tokens.size(), -0.5F);
  for (const auto token : piece.tokens)
    piece.token_texts.emplace_back(words().bytes(token));
  return piece;
}

json data_of(const std::string& event) {
  CHECK(event.starts_with("data: "));
  CHECK(event.ends_with("}\n\n"));
  return json::parse(event.substr(6));
}

} // namespace

TEST_CASE("a whole chat completion, with its tokens") {
  completion_request asked{.chat = true};
  asked.logprobs = asked.token_ids = true;
  const reply_text replies({.chat = true, .id = "chatcmpl-1", .model = "tiny", .created = 5}, asked);
  const auto piece = piece_of("a\u2260");
  const auto reply = json::parse(replies.whole({piece}, token_counts{.prompt = 3, .completion = 4}, {{7, 8, 9}}));
  CHECK(reply["id"] == "chatcmpl-1");
  CHECK(reply["object"] == "chat.completion");
  CHECK(reply["created"] == 5);
  CHECK(reply["model"] == "tiny");
  CHECK(reply["usage"] == json{{"prompt_tokens", 3}, {"completion_tokens", 4}, {"total_tokens", 7}});
  CHECK(reply["prompt_token_ids"] == json{7, 8, 9});
  const auto& choice = reply["choices"][0];
  CHECK(choice["message"] == json{{"role", "assistant"}, {"content", "a\u2260"}, {"refusal", nullptr}});
  CHECK(choice["finish_reason"] == "stop");
  CHECK(choice["token_ids"] == piece.tokens);
  const auto& content = choice["logprobs"]["content"];
  REQUIRE(content.size() == piece.tokens.size());
  std::string bytes;
  for (const auto& token : content) {
    CHECK(token["logprob"] == -0.5);
    for (const auto& byte : token["bytes"])
      bytes += static_cast<char>(byte.get<int>());
  }
  CHECK(bytes == "a\u2260"); // tokens may be parts of characters, their bytes are not
}

TEST_CASE("a whole completion: the offsets of its tokens count characters") {
  completion_request asked;
  asked.logprobs = true;
  const reply_text replies({.chat = false, .id = "cmpl-1", .model = "tiny", .created = 5}, asked);
  auto piece = piece_of("\u00e9 b");
  piece.end = rollout::finish_reason::length;
  const auto reply = json::parse(replies.whole({piece}, {}, {}));
  CHECK(reply["object"] == "text_completion");
  const auto& choice = reply["choices"][0];
  CHECK(choice["text"] == "\u00e9 b");
  CHECK(choice["finish_reason"] == "length");
  CHECK(choice["logprobs"]["text_offset"][0] == 0);
  CHECK(choice["logprobs"]["text_offset"].back() <= 2);
  CHECK(choice["logprobs"]["token_logprobs"].size() == piece.tokens.size());
  CHECK(!reply.contains("prompt_token_ids"));
}

TEST_CASE("events of a stream") {
  const completion_request asked{.chat = true};
  const reply_text replies({.chat = true, .id = "chatcmpl-1", .model = "tiny", .created = 5}, asked);
  const auto opening = data_of(replies.opening(2, {7, 8}));
  CHECK(opening["object"] == "chat.completion.chunk");
  CHECK(opening["choices"][0]["delta"] == json{{"role", "assistant"}, {"content", ""}});
  CHECK(opening["choices"][0]["index"] == 2);
  CHECK(!opening.contains("prompt_token_ids"));
  completion_request with_tokens{.chat = true};
  with_tokens.token_ids = true;
  const reply_text telling({.chat = true, .id = "chatcmpl-1", .model = "tiny", .created = 5}, with_tokens);
  CHECK(data_of(telling.opening(0, {7, 8}))["prompt_token_ids"] == json{7, 8});
  auto piece = piece_of("hi");
  piece.end.reset();
  CHECK(data_of(replies.event(piece))["choices"][0]["delta"] == json{{"content", "hi"}});
  CHECK(data_of(replies.event(piece))["choices"][0]["finish_reason"].is_null());
  piece.text.clear();
  piece.end = rollout::finish_reason::length;
  CHECK(data_of(replies.event(piece))["choices"][0]["delta"] == json::object());
  CHECK(data_of(replies.event(piece))["choices"][0]["finish_reason"] == "length");
  const auto usage = data_of(replies.usage_event({.prompt = 1, .completion = 2}));
  CHECK(usage["choices"].empty());
  CHECK(usage["usage"]["total_tokens"] == 3);
}

TEST_CASE("errors and models") {
  CHECK(json::parse(error_text(400, "n: found 0", "n"))
        == json{{"error",
                 {{"message", "n: found 0"}, {"type", "invalid_request_error"}, {"param", "n"}, {"code", nullptr}}}});
  CHECK(json::parse(error_text(404, "model: ...", "model"))["error"]["code"] == "model_not_found");
  CHECK(json::parse(error_text(429, "wait"))["error"]["type"] == "rate_limit_error");
  const auto models = json::parse(models_text("tiny", 64, 5));
  CHECK(models["object"] == "list");
  CHECK(models["data"][0]
        == json{{"id", "tiny"}, {"object", "model"}, {"created", 5}, {"owned_by", "millrace"}, {"max_model_len", 64}});
  CHECK(!json::parse(model_text("tiny", 0, 5)).contains("max_model_len"));
}

} // namespace reply_text_test
