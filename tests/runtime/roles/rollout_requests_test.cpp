#include "runtime/model/chat_tokens.hpp"
#include "runtime/roles/rollout_requests.hpp"

#include <doctest/doctest.h>

#include <string>

namespace rollout_requests_test {

using namespace millrace;
using roles::reply_in_tokens;

namespace {

model::checkpoint words_of(const std::string& chat) {
  auto words = model::load_checkpoint("tests/golden/models/tiny-chat", {.weights = false});
  model::use_chat_template(words, chat);
  return words;
}

const chat_turn question{"user", "2 + 3?"}, more{"user", "and 4?"};

} // namespace

TEST_CASE("replies in tokens: what is said goes on behind the turn, and a rewritten history is read whole") {
  const auto words = words_of("chatml");
  const rollout::ended_turn turn{.text = "5", .last_token = words.tok->id("<|im_end|>").value()};
  const auto plain = reply_in_tokens(words, turn, {.messages = {more}, .reward = 0.5}, {});
  CHECK(plain.tokens == model::encode_reply(words, std::span(&turn.last_token, 1), std::vector{more}));
  CHECK(plain.reward == 0.5f);
  CHECK(!plain.new_segment);
  const std::vector<std::string> tools{R"({"type": "function", "function": {"name": "f"}})"};
  const turn_taken other{.messages = {more}, .history = {question, {"assistant", "6"}}, .rewritten = true};
  const auto whole = reply_in_tokens(words, turn, other, tools);
  CHECK(whole.tokens == model::encode_chat(words, std::vector<chat_turn>{question, {"assistant", "6"}, more}, tools));
  CHECK(whole.new_segment);
  CHECK(reply_in_tokens(words, turn, {.messages = {more}, .history = other.history}, {}).tokens == plain.tokens);
  CHECK(reply_in_tokens(words, turn, {.done = true}, {}).tokens.empty());
}

TEST_CASE("replies in tokens: a template that leaves thoughts out begins a segment where it does") {
  const auto words = words_of("qwen3");
  const chat_turn thought{"assistant", "<think>\nEasy.\n</think>\n\n5"};
  const rollout::ended_turn turn{.text = thought.content, .last_token = words.tok->id("<|im_end|>").value()};
  const auto next = reply_in_tokens(words, turn, {.messages = {more}, .history = {question, thought}}, {});
  CHECK(next.new_segment);
  CHECK(words.tok->decode(next.tokens).find("Easy") == std::string::npos);
  const auto tool = reply_in_tokens(words, turn, {.messages = {{"tool", "9"}}, .history = {question, thought}}, {});
  CHECK(!tool.new_segment);
}

TEST_CASE("replies in tokens: calls that a client brought stand as the model's family writes them") {
  const turn_taken said{
      .messages = {{"tool", "9"}},
      .history = {question, {"assistant", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 4}}\n</tool_call>"}},
      .rewritten = true};
  const rollout::ended_turn turn{.text = "5", .last_token = 1};
  const auto text_in = [&](const std::string& family) {
    const auto words = words_of(family);
    return words.tok->decode(reply_in_tokens(words, turn, said, {}).tokens);
  };
  CHECK(text_in("qwen2.5").find("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 4}}\n</tool_call>")
        != std::string::npos);
  CHECK(text_in("llama3.1").find("{\"name\": \"f\", \"parameters\": {\"a\": 4}}") != std::string::npos);
  CHECK(text_in("llama3.1").find("<tool_call>") == std::string::npos);
}

TEST_CASE("replies in tokens: a segment has the room of a segment") {
  const rollout::ended_turn turn{.room = 3, .room_of_segment = 5};
  for (const std::size_t tokens : {2, 3, 4, 5}) {
    CAPTURE(tokens);
    rollout::turn_reply reply{.tokens = std::vector<std::int32_t>(tokens, 1)};
    CHECK(roles::fits(turn, reply) == (tokens < 3)); // and one that is sampled
    reply.new_segment = true;
    CHECK(roles::fits(turn, reply) == (tokens < 5));
  }
}

} // namespace rollout_requests_test
