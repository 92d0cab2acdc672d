#include "tests/runtime/environments/played.hpp"
#include "tests/support/stand_in_gym.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace verifiers_environment_test {

using namespace millrace;
using namespace millrace::tests;

namespace {

/// Three environments of the package's own classes, by name.
constexpr const char* environments_source = R"py(
import verifiers as vf
from datasets import Dataset

def rows():
    return Dataset.from_list([{"question": f"What is {n} + 1?", "answer": str(n + 1), "info": {"n": n}}
                              for n in (3, 7)])

def exact(completion, answer):
    return float(completion[-1].content == answer)

def spelled(completion, info):
    return len(completion[-1].content) / 10 + info["n"]

async def talked(completion, prompt):
    return 100.0 * len(prompt) + len(completion)

def failing(completion):
    raise ValueError("no score")

class Guessing(vf.MultiTurnEnv):
    async def setup_state(self, state):
        state["tries"] = 0
        return state

    @vf.stop
    async def found(self, state):
        return bool(state["trajectory"]) and state["trajectory"][-1]["completion"][-1].content == state["answer"]

    async def env_response(self, messages, state, **kwargs):
        state["tries"] += 1
        return [{"role": "user", "content": f"no, try {state['tries'] + 1}"}]

class Forgetting(Guessing):
    async def get_prompt_messages(self, state):
        messages = await super().get_prompt_messages(state)
        return messages if len(messages) < 4 else [messages[0], *messages[-2:]]

def tries(state):
    return float(state["tries"])

def plus(a: int, b: int) -> int:
    """Adds.

    Args:
        a: one number
        b: another number
    """
    return a + b

def load_environment(kind, turns=5):
    rubric = vf.Rubric(funcs=[exact, spelled, talked], weights=[1.0, 0.25, 0.01])
    if kind == "single":
        return vf.SingleTurnEnv(dataset=rows(), system_prompt="Be short.", rubric=rubric)
    if kind == "forgetting":
        return Forgetting(dataset=rows(), max_turns=turns, rubric=rubric)
    if kind == "several":
        rubric.add_reward_func(tries, weight=-0.125)
        return Guessing(dataset=rows(), max_turns=turns, rubric=rubric)
    if kind == "raising":
        return vf.SingleTurnEnv(dataset=rows(), rubric=vf.Rubric(funcs=[exact, failing], weights=[1.0, 1.0]))
    if kind == "group":
        def best(completions):
            return [1.0] * len(completions)
        return vf.SingleTurnEnv(dataset=rows(), rubric=vf.Rubric(funcs=[best]))
    return vf.ToolEnv(dataset=rows(), tools=[plus], max_turns=turns, rubric=rubric)
)py";

/// The rubric called by hand: the conversation behind the prompt is given, no rollout is played.
constexpr const char* by_hand_source = R"py(
import asyncio, json, sys
import verifiers as vf
from verifiers.types import State
from verifiers.utils.message_utils import normalize_messages

about, said = json.loads(sys.argv[1]), json.loads(sys.argv[2])
env = vf.load_environment("three_kinds", **about)
row = dict(env.get_dataset()[0])
completion = normalize_messages(said["completion"], field_name="completion")
state = State(input=row)
state["prompt"] = normalize_messages(row["prompt"], field_name="prompt")
state["completion"] = completion
state["trajectory"] = [None] * sum(m.role == "assistant" for m in completion)
state["tries"] = said.get("tries", 0)
asyncio.run(env.rubric.score_rollout(state))
print(repr(float(state["reward"])), end="")
)py";

/// A Python with the real package and the environments, or "".
struct real_python {
  temporary_folder folder;
  std::string program;

  real_python() {
    const char* with = std::getenv("MILLRACE_VERIFIERS_PYTHON");
    if (!with) {
      std::cout << "skipped: MILLRACE_VERIFIERS_PYTHON names no Python with verifiers\n";
      return;
    }
    write_file(folder / "three_kinds.py", environments_source);
    write_file(folder / "by_hand.py", by_hand_source);
    program = (folder / "python").string();
    write_file(program, "#!/bin/sh\nPYTHONPATH=" + folder.path().string() + " exec " + with + " \"$@\"\n");
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  }

  double by_hand(const std::string& about, const std::string& said) const {
    const std::string command =
        program + ' ' + (folder / "by_hand.py").string() + " '" + about + "' '" + said + "' 2>/dev/null";
    std::FILE* out = popen(command.c_str(), "r");
    std::array<char, 64> text{};
    const auto read = std::fread(text.data(), 1, text.size() - 1, out);
    REQUIRE(pclose(out) == 0);
    REQUIRE(read > 0);
    return std::strtod(text.data(), nullptr);
  }

  std::unique_ptr<environment> environment_of() const {
    return made("verifiers", {{"python", program}, {"deadline_ms", std::int64_t{120000}}});
  }
};

/// The first row of an environment.
episode_row first_row(const std::string& about, std::vector<chat_turn> before = {}) {
  before.push_back({"user", "What is 3 + 1?"});
  auto prompt = nlohmann::json::array();
  for (const auto& turn : before)
    prompt.push_back({{"role", turn.role}, {"content", turn.content}});
  return {.prompt = std::move(before),
          .answer = "4",
          .ground_truth = "",
          .data_source = "three_kinds",
          .extra_info = R"({"verifiers": {"environment": "three_kinds", "arguments": )" + about
                        + R"(, "row": {"prompt": )" + prompt.dump()
                        + R"(, "answer": "4", "info": {"n": 3}, "example_id": 0}}})"};
}

} // namespace

TEST_CASE("verifiers: a Python without the package, or with one of another form, is named with what to install") {
  const temporary_folder folder;
  const auto python = python_with_stand_in_gym(folder.path());
  std::filesystem::create_directory(folder / "verifiers");
  const auto why = [&](const char* package) {
    write_file(folder / "verifiers/__init__.py", package);
    return made("verifiers", {{"python", python.string()}})->unusable();
  };
  const auto missing = why("raise ImportError('No module named verifiers')\n");
  CHECK(missing.starts_with("no verifiers with load_environment in "));
  CHECK(missing.find("env/bin/pip install verifiers==0.2.1") != std::string::npos);
  CHECK(why("__version__ = '0.4.0'\n").find("verifiers 0.4.0 has no load_environment") != std::string::npos);
}

TEST_CASE("verifiers: single-turn, multi-turn and tool environments give what their own rubrics give") {
  const real_python python;
  if (python.program.empty())
    return;
  const auto env = python.environment_of();
  REQUIRE(env->unusable() == "");

  const std::string single = R"({"kind": "single"})";
  const auto prompt = begin(*env, {1, 0}, first_row(single, {{"system", "Be short."}}), 2);
  CHECK((prompt == std::vector<chat_turn>{{"system", "Be short."}, {"user", "What is 3 + 1?"}}));
  const auto right = take(*env, {{1, 0}, 0}, "4");
  CHECK(right.done);
  CHECK(right.reward == doctest::Approx(1 + 0.25 * 3.1 + 0.01 * 201));
  CHECK(right.reward == python.by_hand(single, R"({"completion": [{"role": "assistant", "content": "4"}]})"));
  const auto wrong = take(*env, {{1, 0}, 1}, "five");
  CHECK(wrong.reward == python.by_hand(single, R"({"completion": [{"role": "assistant", "content": "five"}]})"));

  const std::string several = R"({"kind": "several"})";
  begin(*env, {2, 0}, first_row(several), 2);
  CHECK((take(*env, {{2, 0}, 0}, "2").messages == std::vector<chat_turn>{{"user", "no, try 2"}}));
  CHECK((take(*env, {{2, 0}, 1}, "9").messages == std::vector<chat_turn>{{"user", "no, try 2"}}));
  CHECK((take(*env, {{2, 0}, 0}, "3").messages == std::vector<chat_turn>{{"user", "no, try 3"}}));
  const auto found = take(*env, {{2, 0}, 0}, "4");
  CHECK(found.done);
  CHECK(found.reward == python.by_hand(several, R"({"tries": 2, "completion": [{"role": "assistant", "content": "2"},
        {"role": "user", "content": "no, try 2"}, {"role": "assistant", "content": "3"},
        {"role": "user", "content": "no, try 3"}, {"role": "assistant", "content": "4"}]})"));

  const std::string tools = R"({"kind": "tools"})";
  const auto offered = begin_with_tools(*env, {3, 0}, first_row(tools), 2);
  CHECK(offered.prompt.size() == 1);
  REQUIRE(offered.tools.size() == 1);
  CHECK(offered.tools[0].starts_with(R"({"type":"function","function":{"name":"plus","description":"Adds.")"));
  const tool_call call{.name = "plus", .arguments = R"({"a": 3, "b": 1})"};
  CHECK((take_calls(*env, {{3, 0}, 0}, "", {call}).messages == std::vector<chat_turn>{{"tool", "4"}}));
  const auto end = take_calls(*env, {{3, 0}, 0}, "4", {});
  CHECK(end.done);
  CHECK(end.reward
        == python.by_hand(tools, R"({"completion": [{"role": "assistant", "content": "", "tool_calls": [{"id": "call_0",
        "name": "plus", "arguments": "{\"a\": 3, \"b\": 1}"}]}, {"role": "tool", "content": "4", "tool_call_id":
        "call_0"}, {"role": "assistant", "content": "4"}]})"));
  const auto malformed = take_calls(*env, {{3, 0}, 1}, "", {{.error = "found plus(3, 1), which is no JSON"}});
  CHECK(!malformed.done);
  CHECK(malformed.messages.at(0).role == "tool");
  CHECK(malformed.messages.at(0).content.find("Expecting value") != std::string::npos);
}

TEST_CASE("verifiers: an environment that rewrites its history says what the policy reads in its place") {
  const real_python python;
  if (python.program.empty())
    return;
  const auto env = python.environment_of();
  const std::string about = R"({"kind": "forgetting"})";
  begin(*env, {1, 0}, first_row(about), 1);
  CHECK((take(*env, {{1, 0}, 0}, "2") == saying{.messages = {{"user", "no, try 2"}}}));
  CHECK((take(*env, {{1, 0}, 0}, "3")
         == saying{.messages = {{"user", "no, try 3"}},
                   .history = {{"user", "What is 3 + 1?"}, {"assistant", "3"}},
                   .rewritten = true}));
  const auto found = take(*env, {{1, 0}, 0}, "4");
  CHECK(found.done);
  CHECK(found.reward == doctest::Approx(1 + 0.25 * 3.1 + 0.01 * 103));
}

TEST_CASE("verifiers: an episode of the last turn that may be is scored as it stands") {
  const real_python python;
  if (python.program.empty())
    return;
  const auto env = python.environment_of();
  begin(*env, {1, 0}, first_row(R"({"kind": "several"})"), 1);
  take(*env, {{1, 0}, 0}, "2");
  const auto cut = take(*env, {{1, 0}, 0}, "3", false, true);
  CHECK(cut.done);
  CHECK(cut.reward == doctest::Approx(0.25 * 3.1 + 0.01 * 103 - 0.125 * 2));
}

TEST_CASE("verifiers: a reward function that raises is no reward, unless the file says that it is 0") {
  const real_python python;
  if (python.program.empty())
    return;
  const auto about = R"({"kind": "raising"})";
  const auto env = python.environment_of();
  begin(*env, {1, 0}, first_row(about), 1);
  CHECK_THROWS_WITH(take(*env, {{1, 0}, 0}, "4"),
                    "step raised ValueError: Error calling reward function failing: no score");
  const auto lenient = made("verifiers", {{"python", python.program}, {"raising_rewards", std::string("zero")}});
  begin(*lenient, {1, 0}, first_row(about), 1);
  CHECK(take(*lenient, {{1, 0}, 0}, "4").reward == 1);
}

TEST_CASE("verifiers: what cannot be played is said in one line") {
  const real_python python;
  if (python.program.empty())
    return;
  const auto env = python.environment_of();
  CHECK_THROWS_WITH(begin(*env, {1, 0}, first_row(R"({"kind": "group"})"), 1),
                    "reset raised ValueError: the rubric of three_kinds scores a group at once, want one that scores "
                    "each answer");
  CHECK_THROWS_WITH(begin(*env, {3, 0}, row_of("go"), 1),
                    "reset raised ValueError: the row is of no environment, want a source whose generator has type = "
                    "\"verifiers\"");
}

} // namespace verifiers_environment_test
