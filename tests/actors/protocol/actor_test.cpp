#include "actors/protocol/actor.hpp"
#include "runtime/messages/abilities.hpp"
#include "tests/support/deterministic_system.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace actor_test {

using namespace millrace;
using namespace millrace::actors;
using namespace std::chrono_literals;

namespace {

using words = std::vector<std::string>;

/// An actor that generates, adds columns later, and writes down what it is told.
struct worker {
  words heard;
  std::optional<reply<group_columns>> open;

  actor::setup setup() {
    return [this](actor& self, inbox& in) {
      in.on_exception([this](const std::string& line) { heard.push_back("complained: " + line); });
      in.on<generate_group>([](const generate_group& ask) {
        if (ask.answers == 0)
          throw std::invalid_argument("no answers are wanted");
        return group_accepted{.group = ask.group, .prompt_tokens = 3};
      });
      in.on<cancel_group>(
          [this](const cancel_group& what) { heard.push_back("cancel " + std::to_string(what.group)); });
      in.on<interrupt_group>([](const interrupt_group&) { throw std::runtime_error("it broke"); });
      in.on<process_group>([this](const process_group&, reply<group_columns> done) { open = done; });
      in.on<forget_group>([&self](const forget_group&) { self.quit(); });
    };
  }
};

} // namespace

TEST_CASE("who is told hears it, who is asked answers, and what a handler throws is the asker's line") {
  tests::deterministic_system actors;
  worker w;
  const auto who = actors.start("worker", w.setup());
  tests::asking test(actors);
  const handle<generates> generator(who);
  tell(generator, cancel_group{7});
  actors.run();
  CHECK(w.heard == words{"cancel 7"});

  const auto good = test.ask(generator, generate_group{.group = 4, .answers = 2});
  REQUIRE(good->answer);
  CHECK(good->answer->group == 4);
  CHECK(good->answer->prompt_tokens == 3);
  const auto bad = test.ask(generator, generate_group{.group = 4, .answers = 0});
  REQUIRE(bad->refused);
  CHECK(bad->refused->line == "no answers are wanted");
  CHECK(bad->refused->by_the_asked);
  CHECK(!bad->answer);
  end_actor(who);
  actors.run();
}

TEST_CASE("what a handler of a told message throws goes to the actor's own line, and the actor goes on") {
  tests::deterministic_system actors;
  worker w;
  const auto who = actors.start("worker", w.setup());
  const handle<generates> generator(who);
  tell(generator, interrupt_group{1, 1});
  tell(generator, cancel_group{2});
  actors.run();
  CHECK(w.heard == words{"complained: it broke", "cancel 2"});
  end_actor(who);
  actors.run();
}

TEST_CASE("a request may be answered later, once, or refused; without an answer its deadline ends it") {
  tests::deterministic_system actors;
  worker w;
  const auto who = actors.start("worker", w.setup());
  tests::asking test(actors);
  const handle<adds_columns> adder(who);
  const auto answered = test.ask(adder, process_group{.group = 1});
  CHECK(!answered->answer);
  (*w.open)(group_columns{.group = 1, .complaint = "late"});
  actors.run();
  REQUIRE(answered->answer);
  CHECK(answered->answer->complaint == "late");

  const auto refused = test.ask(adder, process_group{.group = 2});
  w.open->refuse("cannot");
  actors.run();
  REQUIRE(refused->refused);
  CHECK(refused->refused->line == "cannot");

  const auto silent = test.ask(adder, process_group{.group = 3}, 5s);
  actors.advance(4s);
  CHECK(!silent->refused);
  actors.advance(2s);
  REQUIRE(silent->refused);
  CHECK(silent->refused->line == "no answer within the deadline");
  CHECK(!silent->refused->by_the_asked);
  w.open.reset();
  end_actor(who);
  actors.run();
}

TEST_CASE("each request has its own deadline, in whatever order they were asked, and an answer is the end of it") {
  tests::deterministic_system actors;
  worker w;
  const auto who = actors.start("worker", w.setup());
  tests::asking test(actors);
  const handle<adds_columns> adder(who);
  const auto last = test.ask(adder, process_group{.group = 1}, 9s);
  auto late = *w.open;
  const auto first = test.ask(adder, process_group{.group = 2}, 3s);
  const auto kept = *w.open;
  const auto answered = test.ask(adder, process_group{.group = 3}, 2s);
  (*w.open)(group_columns{.group = 3});
  actors.run();
  const auto second = test.ask(adder, process_group{.group = 4}, 6s);
  actors.advance(2s);
  CHECK(!first->refused);
  actors.advance(1s);
  CHECK(first->refused);
  CHECK(!second->refused);
  actors.advance(3s);
  CHECK(second->refused);
  CHECK(!last->refused);
  actors.advance(2s);
  CHECK(!last->refused);
  actors.advance(1s);
  CHECK(last->refused);
  late(group_columns{.group = 1}); // nobody waits for it now
  actors.run();
  CHECK(!last->answer);
  CHECK(answered->answer);
  CHECK(!answered->refused);
  w.open.reset();
  end_actor(who);
  actors.run();
}

TEST_CASE("a message that an actor does not take is refused by its name") {
  tests::deterministic_system actors;
  worker w;
  const auto who = actors.start("worker", w.setup());
  tests::asking test(actors);
  const auto answer = test.ask(handle<keeps_state>(who), write_checkpoint{"x"});
  REQUIRE(answer->refused);
  CHECK(answer->refused->line == "worker takes no such message");
  end_actor(who);
  actors.run();
}

TEST_CASE("an actor sees another one end, hears its timers in order, and a weak address ends with it") {
  tests::deterministic_system actors;
  worker w;
  const auto who = actors.start("worker", w.setup());
  words heard;
  const auto watcher = actors.start("watcher", [&](actor& self, inbox&) {
    self.watch(who, [&] { heard.push_back("gone"); });
    self.after(2s, [&] { heard.push_back("two"); });
    self.after(1s, [&] { heard.push_back("one"); });
  });
  actors.run();
  actors.advance(1s);
  CHECK(heard == words{"one"});
  actors.advance(1s);
  CHECK(heard == words{"one", "two"});
  const weak_address weak(who);
  CHECK(weak.lock() == who);
  tell(handle<trains>(who), forget_group{1}); // it quits
  actors.run();
  CHECK(heard == words{"one", "two", "gone"});
  bool ran = false;
  continue_in(weak, [&] { ran = true; });
  actors.run();
  CHECK(!ran);
  end_actor(watcher);
  actors.run();
}

TEST_CASE("what a handler keeps is let go when the actor ends") {
  tests::deterministic_system actors;
  auto kept = std::make_shared<int>(1);
  const std::weak_ptr<int> seen = kept;
  auto who = actors.start("keeper", [kept](actor& self, inbox& in) {
    const auto me = self.me(); // a circle: the actor keeps its own address
    in.on<cancel_group>([kept, me](const cancel_group&) {});
  });
  kept.reset();
  actors.run();
  CHECK(!seen.expired());
  end_actor(who);
  actors.run();
  CHECK(seen.expired());
}

TEST_CASE("other threads may answer, tell and continue an actor's work") {
  cluster::actor_options options;
  options.threads = 1;
  actor_system system(options);
  const auto who = system.start("slow", [](actor& self, inbox& in) {
    in.on<process_group>([weak = self.weak()](const process_group& ask, reply<group_columns> done) {
      std::thread([weak, done, group = ask.group] {
        continue_in(weak, [done, group] { done(group_columns{.group = group}); });
      }).detach();
    });
  });
  const auto answer = system.ask_and_wait(handle<adds_columns>(who), process_group{.group = 9}, 10s);
  REQUIRE(std::holds_alternative<group_columns>(answer));
  CHECK(std::get<group_columns>(answer).group == 9);
  end_actor(who);
}

} // namespace actor_test
