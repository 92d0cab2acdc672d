#include "tests/runtime/environments/played.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <fstream>

namespace python_environment_test {

using namespace millrace;
using namespace millrace::tests;

namespace {

constexpr const char* source = R"py(
import asyncio
import os
import random
import time

class Counting:
    """Counts the turns; the row says how it behaves."""
    def reset(self, row):
        self.row, self.turns = row, 0
        self.number = random.Random(row["seed"]).randint(1, 6)
        print("this goes to stderr")
        return [{"role": "system", "content": "count"}, row["prompt"][-1]]

    def step(self, messages):
        self.turns += 1
        text = messages[-1]["content"]
        if text == "raise":
            raise ValueError("no\nsuch thing")
        if text == "die":
            os._exit(3)
        if text == "hang":
            time.sleep(1000)
        if text == "nan":
            return "x", float("nan"), False
        if text == "nothing":
            return None, 0, False
        if text == "two":
            return "x", 0
        if text == "forget":
            return "x", 0, False, [{"role": "user", "content": "In short"}]
        if text == "forget all":
            return "x", 0, False, []
        if text == "keep":
            return "x", 0, False, None
        return str(len(messages)) + " " + str(self.turns) + " " + str(self.number), self.turns / 2, text == "end"

class Slow:
    async def reset(self, row):
        return row["prompt"]

    async def step(self, messages):
        await asyncio.sleep(0.5)
        return [], row_reward(messages), True

def row_reward(messages):
    return len(messages[-1]["content"])

class Blocking(Slow):
    def step(self, messages):
        time.sleep(0.5)
        return [], 1, True

class Differs:
    def reset(self, row):
        return "you are " + str(id(self))

    def step(self, messages):
        return "x", 0, False
)py";

struct written_file {
  temporary_folder folder;

  written_file() { std::ofstream(folder / "play.py") << source; }

  std::unique_ptr<environment> of(const std::string& name, option_values more = {}) const {
    more.emplace("file", (folder / "play.py").string());
    more.emplace("class", name);
    return made("python", more);
  }
};

} // namespace

TEST_CASE("python environment: a class plays, with the whole conversation at hand and the group's seed") {
  const written_file file;
  const auto env = file.of("Counting");
  CHECK(env->unusable() == "");
  const auto prompt = begin(*env, {1, 0}, row_of("go"), 2, 9);
  CHECK((prompt == std::vector<chat_turn>{{"system", "count"}, {"user", "go"}}));
  const auto first = take(*env, {{1, 0}, 0}, "a");
  CHECK(first.reward == 0.5);
  CHECK(first.messages.at(0).role == "user");
  CHECK(first.messages.at(0).content.starts_with("3 1 ")); // system, user, assistant
  CHECK(take(*env, {{1, 0}, 0}, "b").messages.at(0).content.starts_with("5 2 "));
  CHECK(take(*env, {{1, 0}, 1}, "a") == first); // the other answer's own object, the same seed
  const auto last = take(*env, {{1, 0}, 0}, "end");
  CHECK(last.done);
  CHECK(last.reward == 1.5);
  CHECK((take(*env, {{1, 0}, 1}, "forget")
         == saying{.messages = {{"user", "x"}}, .history = {{"user", "In short"}}, .rewritten = true}));
  CHECK(take(*env, {{1, 0}, 1}, "c").messages.at(0).content.starts_with("3 3 ")); // in short, x, the turn
  CHECK((take(*env, {{1, 0}, 1}, "forget all") == saying{.messages = {{"user", "x"}}, .rewritten = true}));
  CHECK((take(*env, {{1, 0}, 1}, "keep") == saying{.messages = {{"user", "x"}}}));
  CHECK(take(*env, {{1, 0}, 1}, "d").messages.at(0).content.starts_with("4 6 ")); // x, the turn, x, the turn
}

TEST_CASE("python environment: what the class does wrong is said in one line and costs its episode alone") {
  const written_file file;
  const auto env = file.of("Counting");
  begin(*env, {1, 0}, row_of("go"), 2);
  CHECK_THROWS_WITH(take(*env, {{1, 0}, 0}, "raise"), "step raised ValueError: no such thing");
  CHECK_THROWS_WITH(take(*env, {{1, 0}, 0}, "nan"), "step returned the reward nan, want a finite number");
  CHECK_THROWS_WITH(take(*env, {{1, 0}, 0}, "two"), "step returned 2 values, want (messages, reward, done) or "
                                                    "(messages, reward, done, history)");
  CHECK_THROWS_WITH(take(*env, {{1, 0}, 0}, "nothing"), "step returned no message and done = False, want one of them");
  CHECK(take(*env, {{1, 0}, 1}, "a").reward == 0.5);
  CHECK_THROWS_WITH(take(*env, {{2, 0}, 0}, "a"), "the process that had the episode is gone");
  const auto differs = file.of("Differs");
  CHECK_THROWS_WITH(begin(*differs, {1, 0}, row_of("go"), 2),
                    "reset gave two answers of a row different prompts, want one: draw from random.Random(seed)");
}

TEST_CASE("python environment: a process that dies or hangs costs what it has, and a fresh one goes on") {
  const written_file file;
  const auto env = file.of("Counting", {{"deadline_ms", std::int64_t{3000}}});
  begin(*env, {1, 0}, row_of("go"), 2);
  begin(*env, {2, 0}, row_of("go"), 1);
  CHECK_THROWS_WITH(take(*env, {{1, 0}, 0}, "die"), "the process ended with exit status 3");
  CHECK_THROWS_WITH(take(*env, {{2, 0}, 0}, "a"), "the process that had the episode is gone");
  begin(*env, {2, 1}, row_of("go"), 1);
  CHECK(take(*env, {{2, 1}, 0}, "a").reward == 0.5);
  CHECK_THROWS_WITH(take(*env, {{2, 1}, 0}, "hang"), "no reply before the deadline");
  begin(*env, {2, 2}, row_of("go"), 1);
  CHECK(take(*env, {{2, 2}, 0}, "a").reward == 0.5);
}

TEST_CASE("python environment: many episodes wait beside each other") {
  const written_file file;
  for (const std::string name : {"Slow", "Blocking"}) {
    const auto env = file.of(name);
    CHECK(env->unusable() == "");
    begin(*env, {1, 0}, row_of("go"), 30);
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::future<std::pair<saying, std::string>>> open;
    for (std::int32_t i = 0; i < 30; ++i)
      open.push_back(ask(*env, {{1, 0}, i}, "abc"));
    for (auto& each : open)
      CHECK(within_deadline(std::move(each)).done);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(8)); // one after another: 15 s
  }
}

TEST_CASE("python environment: a class that cannot be used is named before anything is played") {
  const written_file file;
  CHECK(file.of("Missing")->unusable() == "found no class 'Missing'");
  CHECK(file.of("row_reward")->unusable() == "'row_reward' has no method reset, want reset(row) and step(messages)");
  const auto nowhere = made("python", {{"file", std::string("/nowhere.py")}, {"class", std::string("A")}});
  CHECK(nowhere->unusable() == "found no file /nowhere.py, want one with the class");
  const auto no_python = file.of("Counting", {{"python", std::string("no-such-python")}});
  CHECK(no_python->unusable() == "the program cannot be started (exit status 127)");
}

} // namespace python_environment_test
