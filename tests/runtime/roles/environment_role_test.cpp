#include "runtime/columns/prompt_columns.hpp"
#include "runtime/roles/dialogue.hpp"
#include "runtime/roles/environment_role.hpp"
#include "tests/runtime/roles/ask.hpp"
#include "tests/runtime/roles/fixture.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace environment_role_test {

using namespace millrace;
using namespace millrace::roles;

namespace {

/// Says what it was told; counts how often it is asked.
class echo final : public environments::environment {
public:
  void begin(group_attempt, const environments::episode_row& row, std::int32_t answers, std::uint64_t seed,
             environments::opened_to done) override {
    ++begun;
    const auto said = row.prompt.at(0).content + ", " + std::to_string(answers) + " answers, seed "
                      + std::to_string(seed) + ", " + row.answer;
    done({.prompt = {{"user", said}}, .tools = {R"({"function": {"name": "f"}})"}}, {});
  }

  void take(const environments::episode_id& which, const environments::written_turn& turn,
            environments::said_to done) override {
    ++taken;
    if (turn.text == "fail")
      return done({}, "no more");
    if (turn.text == "later") {
      late = std::move(done);
      return;
    }
    if (turn.text == "branch")
      return done({.messages = {{"user", "on"}}, .history = {{"user", "anew"}}, .rewritten = true}, {});
    done({.messages = {{"user", std::to_string(which.answer) + turn.text + (turn.last ? " last" : "")}},
          .reward = turn.last ? 2.0 : 1.0,
          .done = turn.text == "end"},
         {});
  }

  void over(const environments::episode_id& which) override { over_answer = which.answer; }

  void end(group_attempt) override { ++ended; }

  int begun = 0, taken = 0, ended = 0; // the role calls it on one thread
  std::int32_t over_answer = -1;
  environments::said_to late;
};

struct playing {
  std::shared_ptr<transport::data_plane> data = tests::data_plane_of(1);
  std::shared_ptr<const pipeline::pipeline> p = std::make_shared<const pipeline::pipeline>(tests::tiny_pipeline(
      {"roles.rollout.environment=game"}, "[roles.game]\nkind = \"environment\"\nfrom = [\"prompts\"]\n"
                                          "type = \"calculator\"\nmax_turns = 3\nmax_reply_bytes = 16\n"));
  echo* env = nullptr;
  std::unique_ptr<environment_role> role;
  ticket row = data->publish(
      columns::columns_of({.prompt = {{"user", "hello"}}, .answer = "x", .data_source = "s", .demonstrations = {}}));

  playing() {
    auto made = std::make_unique<echo>();
    env = made.get();
    role = std::make_unique<environment_role>(role_setup{.pipeline = p, .who = {"game", 0, 1}, .data = data},
                                              std::get<pipeline::environment_table>(p->at("game").options),
                                              std::move(made));
  }

  std::pair<episodes_begun, std::string> begin(std::uint32_t since = 1, bool with_history = false) {
    return tests::ask(
        *role, &environment_role::begin,
        {.group = 5, .since = since, .answers = 2, .seed = 9, .columns = row, .with_history = with_history});
  }

  std::pair<turn_taken, std::string> take(std::int32_t answer, std::int32_t turn, const std::string& text) {
    return tests::ask(*role, &environment_role::take,
                      {.group = 5, .since = 1, .answer = answer, .turn = turn, .text = text});
  }
};

} // namespace

TEST_CASE("environment role: episodes begin once, whoever asks, and a turn is replied to once") {
  playing p;
  CHECK((p.begin().first.prompt == std::vector<chat_turn>{{"user", "hello, 2 answers, seed 9, x"}}));
  CHECK((p.begin().first.prompt == std::vector<chat_turn>{{"user", "hello, 2 answers, seed 9, x"}}));
  CHECK(p.begin().first.tools == std::vector<std::string>{R"({"function": {"name": "f"}})"});
  CHECK(p.env->begun == 1);
  CHECK((p.take(0, 0, "a").first.messages == std::vector<chat_turn>{{"user", "0a"}}));
  CHECK((p.take(0, 0, "a").first.messages == std::vector<chat_turn>{{"user", "0a"}})); // by a rollout that took it over
  CHECK(p.env->taken == 1);
  CHECK((p.take(0, 1, "b").first.messages == std::vector<chat_turn>{{"user", "0b"}}));
  CHECK((p.take(1, 0, "a").first.messages == std::vector<chat_turn>{{"user", "1a"}}));
  CHECK(p.take(0, 0, "a").second == "found turn 0 of an episode, want turn 2");
  CHECK(p.take(0, 3, "a").second == "found turn 3 of an episode, want turn 2");
}

TEST_CASE("environment role: an episode ends by itself or after max_turns, and what is too long is cut") {
  playing p;
  p.begin();
  CHECK(p.take(0, 0, "end").first.done);
  const auto cut = p.take(1, 0, std::string(100, 'x')).first;
  CHECK(cut.messages.at(0).content == "1xxxxxxxxx [cut]");
  CHECK_FALSE(cut.done);
  CHECK(p.take(1, 1, "\xE4\xB8\xAD\xE4\xB8\xAD\xE4\xB8\xAD\xE4\xB8\xAD\xE4\xB8\xAD\xE4\xB8\xAD")
            .first.messages.at(0)
            .content
        == "1\xE4\xB8\xAD\xE4\xB8\xAD\xE4\xB8\xAD [cut]"); // whole characters
  const auto last = p.take(1, 2, "more").first;
  CHECK(last.done);
  CHECK(last.messages.empty());
  CHECK(last.reward == 2); // it was told that it is the last
}

TEST_CASE("environment role: the turn that fills an answer is its last, and an answer without room is over") {
  playing p;
  p.begin();
  const auto full = tests::ask(*p.role, &environment_role::take,
                               {.group = 5, .since = 1, .answer = 0, .turn = 0, .text = "a", .last = true})
                        .first;
  CHECK(full.done);
  CHECK(full.messages.empty());
  CHECK(full.reward == 2);
  CHECK_FALSE(p.take(1, 0, "a").first.done);
  p.role->end({.group = 5, .since = 1, .answer = 1});
  CHECK_FALSE(p.take(1, 1, "b").first.done); // behind it
  CHECK(p.env->over_answer == 1);
  CHECK(p.env->ended == 0);
}

TEST_CASE("environment role: what is not here, fails or was ended is said in a line") {
  playing p;
  CHECK(p.take(0, 0, "a").second == "no such episode is here");
  p.begin();
  CHECK(p.take(2, 0, "a").second == "no such episode is here");
  CHECK(p.take(0, 0, "fail").second == "no more");
  p.role->end({.group = 5, .since = 1});
  CHECK(p.take(1, 0, "a").second == "no such episode is here");
  CHECK(p.env->ended == 1);
  CHECK(p.begin(2).second == "");
  p.data->release(p.row.id);
  CHECK(p.begin(3).second != "");
}

TEST_CASE("environment role: two who ask for the same reply are both told when it comes") {
  playing p;
  p.begin();
  tests::watched<int> told;
  const auto count = [&](const turn_taken& said, const std::string& error) {
    told.change([&](int& n) { n += error.empty() && said.messages.size() == 1; });
  };
  const take_turn ask{.group = 5, .since = 1, .answer = 0, .turn = 0, .text = "later"};
  p.role->take(ask, count);
  p.role->take(ask, count);
  CHECK(p.take(1, 0, "a").second == ""); // behind the two
  p.env->late({.messages = {{"user", "at last"}}}, {});
  CHECK(told.wait([](int n) { return n == 2; }));
  CHECK(p.env->taken == 2);
}

TEST_CASE("environment role: replies come with what was said before them, where it was asked for") {
  playing with;
  const auto [begins, error] = with.begin(1, true);
  REQUIRE(error == "");
  const chat_turn prompt = begins.prompt.at(0);
  const auto first = with.take(1, 0, "a").first;
  CHECK((first.history == std::vector<chat_turn>{prompt, {"assistant", "a"}}));
  CHECK(!first.rewritten);
  CHECK((with.take(1, 0, "a").first.history == first.history)); // asked again
  const auto branch = with.take(1, 1, "branch").first;
  CHECK((branch.history == std::vector<chat_turn>{{"user", "anew"}}));
  CHECK(branch.rewritten);
  CHECK((with.take(0, 0, "b").first.history == std::vector<chat_turn>{prompt, {"assistant", "b"}}));
  const auto second = with.take(0, 1, "branch").first;
  CHECK((second.history == std::vector<chat_turn>{{"user", "anew"}}));
  const auto last = with.take(0, 2, "branch").first; // of max_turns: nothing is read behind it
  CHECK(last.history.empty());
  CHECK(!last.rewritten);

  playing without;
  without.begin();
  CHECK(without.take(1, 0, "a").first.history.empty());
  CHECK(without.take(1, 1, "branch").first.history.size() == 1);
}

TEST_CASE("environment role: behind a history that was rewritten the new one goes on") {
  dialogue said(std::vector<chat_turn>{{"user", "1"}});
  said.heard("2", {.messages = {{"user", "3"}}});
  said.heard("4", {.messages = {{"user", "b"}}, .history = {{"user", "a"}}, .rewritten = true});
  const auto third = said.heard("5", {.messages = {{"user", "6"}}});
  CHECK((third.history == std::vector<chat_turn>{{"user", "a"}, {"user", "b"}, {"assistant", "5"}}));
}

} // namespace environment_role_test
