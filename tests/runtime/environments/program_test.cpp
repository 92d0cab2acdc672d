#include "runtime/words/input_error.hpp"
#include "tests/runtime/environments/played.hpp"

#include <doctest/doctest.h>

namespace program_environment_test {

using namespace millrace;
using namespace millrace::tests;

namespace {

/// A program that answers each line with what the script prints for it; `id` is set.
std::unique_ptr<environment> script(const std::string& reply_to_begin, const std::string& reply_to_step) {
  const std::string program = "import json, sys\n"
                              "for line in sys.stdin:\n"
                              "    ask = json.loads(line)\n"
                              "    id = ask.get('id')\n"
                              "    if ask['do'] == 'begin': print(json.dumps("
                              + reply_to_begin
                              + "), flush=True)\n"
                                "    if ask['do'] == 'step': print(json.dumps("
                              + reply_to_step + "), flush=True)\n";
  return made("program", {{"command", std::vector<std::string>{"python3", "-c", program}}});
}

constexpr const char* opening = "{'id': id, 'messages': [{'role': 'user', 'content': ask['row']['answer']}]}";

} // namespace

TEST_CASE("program environment: JSON lines play an episode") {
  const auto env = script(opening, "{'id': id, 'messages': [{'role': 'tool', 'content': ask['text'].upper()}], "
                                   "'reward': 2, 'done': ask['cut_off']}");
  CHECK((begin(*env, {1, 0}, row_of("q", "the answer")) == std::vector<chat_turn>{{"user", "the answer"}}));
  CHECK((take(*env, {{1, 0}, 0}, "abc") == saying{.messages = {{"tool", "ABC"}}, .reward = 2}));
  CHECK(take(*env, {{1, 0}, 0}, "abc", true).done);
  const auto rewrites = script(opening, "{'id': id, 'messages': [{'role': 'user', 'content': 'b'}], 'history': "
                                        "[{'role': 'user', 'content': 'a'}]}");
  begin(*rewrites, {1, 0}, row_of("q"));
  CHECK((take(*rewrites, {{1, 0}, 0}, "abc")
         == saying{.messages = {{"user", "b"}}, .history = {{"user", "a"}}, .rewritten = true}));
  const auto history_of = [](const std::string& history) {
    const auto plays =
        script(opening, "{'id': id, 'messages': [{'role': 'user', 'content': 'b'}], 'history': " + history + "}");
    begin(*plays, {1, 0}, row_of("q"));
    return take(*plays, {{1, 0}, 0}, "abc");
  };
  CHECK((history_of("[]") == saying{.messages = {{"user", "b"}}, .rewritten = true})); // `messages` are all there is
  CHECK((history_of("None") == saying{.messages = {{"user", "b"}}}));
}

TEST_CASE("program environment: replies of another form are named") {
  const auto error = [](const std::string& reply) -> std::string {
    const auto env = script(opening, reply);
    begin(*env, {1, 0}, row_of("q", "a"));
    try {
      take(*env, {{1, 0}, 0}, "x");
    } catch (const std::exception& wrong) {
      return wrong.what();
    }
    return "";
  };
  CHECK(error("{'id': id, 'failure': 'no power'}") == "no power");
  CHECK(error("{'id': id}") == "found no message and an episode that is not done, want one of them");
  CHECK(error("{'id': id, 'messages': 3}") == "messages: found 3, want a list");
  CHECK(error("{'id': id, 'messages': ['a']}") == R"(messages: found "a", want {"role": text, "content": text})");
  const auto whole = script(opening, "{'id': id, 'history': [{'role': 'user', 'content': 'a'}]}");
  begin(*whole, {1, 0}, row_of("q"));
  CHECK((take(*whole, {{1, 0}, 0}, "x") == saying{.messages = {{"user", "a"}}, .rewritten = true}));
  CHECK(error("{'id': id, 'history': 3, 'done': True}") == "history: found 3, want a list");
  CHECK(error("{'id': id, 'reward': 'much', 'done': True}") == R"(reward: found "much", want a finite number)");
  CHECK(error("{'id': id, 'done': 1}") == "done: found 1, want true or false");
  CHECK(error("['x']") == R"(found ["x"], want a JSON object with an id)");
  CHECK(error("{'id': id + 7}") == "an answer to a question that is not open");
  CHECK_THROWS_AS(made("program", {{"command", std::vector<std::string>{}}}), input_error);
}

} // namespace program_environment_test
