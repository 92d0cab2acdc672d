#include "runtime/openai/completion_request.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace completion_request_test {

using namespace millrace;
using namespace millrace::openai;

namespace {

const request_defaults defaults{.model = "tiny",
                                .temperature = 0.6,
                                .top_p = 0.95,
                                .top_k = 20,
                                .end_tokens = {2},
                                .max_context = 100,
                                .most_answers = 8};

completion_request chat(const std::string& fields) {
  return read_completion_request(
      R"({"messages":[{"role":"user","content":"Hi"}])" + (fields.empty() ? "" : "," + fields) + "}", true, defaults);
}

completion_request completion(const std::string& prompt, const std::string& fields = "") {
  return read_completion_request("{\"prompt\":" + prompt + (fields.empty() ? "" : "," + fields) + "}", false, defaults);
}

/// "STATUS FIELD: line"
template <class Read>
std::string refusal_of(Read read) {
  try {
    read();
  } catch (const request_error& why) {
    return std::to_string(why.status) + " " + why.field + "| " + why.what();
  }
  return "";
}

} // namespace

TEST_CASE("a chat request takes what it does not say from the model") {
  const auto asked = chat("");
  CHECK(asked.messages == std::vector<chat_turn>{{"user", "Hi"}});
  CHECK(asked.how.temperature == 0.6);
  CHECK(asked.how.top_p == 0.95);
  CHECK(asked.how.top_k == 20);
  CHECK(asked.how.end_tokens == std::vector<std::int32_t>{2});
  CHECK(asked.how.max_new_tokens == 100);
  CHECK(asked.answers == 1);
  CHECK(!asked.seed);
  CHECK(!asked.stream);
}

TEST_CASE("a chat request says everything") {
  const auto asked =
      chat(R"("model":"tiny","temperature":0,"top_p":0.5,"top_k":-1,"min_p":0.1,"n":3,"seed":7,"stop":["a","b"],
    "max_tokens":5,"max_completion_tokens":4,"stream":true,"stream_options":{"include_usage":true},"logprobs":true,
    "return_token_ids":true,"ignore_eos":true,"user":"me","nobody_knows":{"x":1},"frequency_penalty":0,"tools":[],
    "response_format":{"type":"text"})");
  CHECK(asked.how.temperature == 0);
  CHECK(asked.how.top_p == 0.5);
  CHECK(asked.how.top_k == 0);
  CHECK(asked.how.min_p == 0.1);
  CHECK(asked.how.stop == std::vector<std::string>{"a", "b"});
  CHECK(asked.how.end_tokens.empty());
  CHECK(asked.how.max_new_tokens == 4);
  CHECK(asked.answers == 3);
  CHECK(asked.seed == 7);
  CHECK(asked.stream);
  CHECK(asked.with_usage);
  CHECK(asked.logprobs);
  CHECK(asked.token_ids);
}

TEST_CASE("a message may have parts of text, and a developer is a system") {
  const auto asked = read_completion_request(
      R"({"messages":[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
      {"role":"user","content":""}]})",
      true, defaults);
  CHECK(asked.messages == std::vector<chat_turn>{{"system", "ab"}, {"user", ""}});
}

TEST_CASE("a completion takes texts and tokens, and 16 tokens where nobody says more") {
  CHECK(completion("\"a\"").prompts == std::vector<prompt>{"a"});
  CHECK(completion("[1,2]").prompts == std::vector<prompt>{std::vector<std::int32_t>{1, 2}});
  CHECK(completion("[[1,2],\"a\"]").prompts == std::vector<prompt>{std::vector<std::int32_t>{1, 2}, "a"});
  CHECK(completion("\"a\"").how.max_new_tokens == 16);
  CHECK(completion("\"a\"", "\"logprobs\":0").logprobs);
  CHECK(completion("\"a\"", "\"logprobs\":true").logprobs);
  CHECK(!completion("\"a\"", "\"logprobs\":false").logprobs);
  CHECK(!completion("\"a\"", "\"logprobs\":null").logprobs);
  CHECK(
      refusal_of([] { completion("\"a\"", "\"logprobs\":5"); }).starts_with("400 logprobs| logprobs: found 5, want 0"));
  CHECK(refusal_of([] { completion("\"a\"", "\"logprobs\":\"x\""); }).starts_with("400 logprobs| "));
}

TEST_CASE("what cannot be served is refused by its name") {
  const auto of_chat = [](const std::string& fields) { return refusal_of([&] { chat(fields); }); };
  CHECK(of_chat("\"model\":\"gpt\"") == "404 model| model: found \"gpt\", want \"tiny\"");
  CHECK(of_chat("\"temperature\":-1") == "400 temperature| temperature: found -1, want a number from 0 to 100");
  CHECK(of_chat("\"temperature\":\"hot\"")
        == "400 temperature| temperature: found \"hot\", want a number from 0 to 100");
  CHECK(of_chat("\"n\":0") == "400 n| n: found 0, want an integer from 1 to 8");
  CHECK(of_chat("\"n\":1.5") == "400 n| n: found 1.5, want an integer from 1 to 8");
  CHECK(of_chat("\"n\":18446744073709551615").starts_with("400 n| "));
  CHECK(of_chat("\"stream\":1") == "400 stream| stream: found 1, want true or false");
  CHECK(of_chat("\"stop\":[\"\"]") == "400 stop| stop: found [\"\"], want a text, or a list of texts");
  CHECK(of_chat("\"tools\":[{}]") == "400 tools| tools: found some, want none: they are not served");
  CHECK(of_chat("\"presence_penalty\":0.5").starts_with("400 presence_penalty| "));
  CHECK(of_chat("\"top_logprobs\":5").starts_with("400 top_logprobs| "));
  CHECK(of_chat("\"logprobs\":\"x\"") == "400 logprobs| logprobs: found \"x\", want true or false");
  CHECK(of_chat("\"logprobs\":1") == "400 logprobs| logprobs: found 1, want true or false");
  CHECK(of_chat("\"response_format\":{\"type\":\"json_object\"}").starts_with("400 response_format| "));
  CHECK(of_chat("\"response_format\":{\"type\":5}").starts_with("400 response_format| "));
  CHECK(refusal_of([] { read_completion_request("{}", true, defaults); })
        == "400 messages| messages: found null, want a list of at least one message");
  CHECK(refusal_of([] {
          read_completion_request(R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})", true, defaults);
        }).starts_with("400 messages[0].content| "));
  CHECK(refusal_of([] { read_completion_request("[1]", true, defaults); })
        == "400 | the body: found [1], want a JSON object");
  CHECK(refusal_of([] {
          read_completion_request("{\"a\":", true, defaults);
        }).starts_with("400 | the body is no JSON: "));
  CHECK(refusal_of([] { completion("[]"); }).starts_with("400 prompt| "));
  CHECK(refusal_of([] { completion("[1,-2]"); }).starts_with("400 prompt| "));
  CHECK(refusal_of([] { completion("[\"a\",\"b\",\"c\"]", "\"n\":3"); })
        == "400 prompt| prompt: found 3 prompts with n = 3, want at most 8 answers of a request");
}

TEST_CASE("requests: tools are offered as they stand, and calls become text as the template writes them") {
  auto with_tools = defaults;
  with_tools.chat = text::named_chat_template("qwen3");
  const auto request = read_completion_request(
      R"({"messages":[{"role":"user","content":"2+2?"},{"role":"assistant","content":null,"tool_calls":[{"id":"a",)"
      R"("type":"function","function":{"name":"add","arguments":"{\"y\":2,\"x\":2.0}"}}]},{"role":"tool",)"
      R"("tool_call_id":"a","content":"4"}],"tools":[{"type":"function",)"
      R"("function":{"name":"add","description":"d"}}]})",
      true, with_tools);
  CHECK(request.tools
        == std::vector<std::string>{R"({"type":"function","function":{"name":"add","description":"d"}})"});
  REQUIRE(request.messages.size() == 3);
  CHECK(request.messages[1].content
        == "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"y\": 2, \"x\": 2.0}}\n</tool_call>");
  CHECK(request.messages[2] == chat_turn{"tool", "4"});
  const auto refused = [&](const std::string& fields) {
    return refusal_of([&] {
      read_completion_request("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]," + fields + "}", true,
                              with_tools);
    });
  };
  CHECK(refused("\"tools\":[{}]")
        == R"(400 tools| tools: found {}, want {"type": "function", "function": {"name": text, ...}})");
  CHECK(refused(R"("tools":[{"function":{"name":"f"}}],"tool_choice":"required")").starts_with("400 tool_choice| "));
  CHECK(read_completion_request(
            R"({"messages":[{"role":"user","content":"x"}],"tools":[{"function":{"name":"f"}}],"tool_choice":"none"})",
            true, with_tools)
            .tools.empty());
}

} // namespace completion_request_test
