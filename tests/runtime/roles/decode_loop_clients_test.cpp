#include "runtime/roles/decode_loop.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/support/eventually.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace decode_loop_clients_test {

using namespace millrace;
using namespace millrace::roles;

namespace {

std::shared_ptr<const model::decoder> tiny(std::uint64_t seed) {
  auto config = tests::tiny_config("llama");
  config.max_positions = 1 << 14;
  auto decoder = std::make_shared<model::decoder>(config, tests::random_weights(config, seed, at::kFloat, false));
  decoder->pack();
  return decoder;
}

rollout::group_request asked(std::int64_t new_tokens, std::int32_t answers = 1, std::uint64_t seed = 9) {
  return {.prompt = {7, 5}, .answers = answers, .seed = seed, .how = {.max_new_tokens = new_tokens}};
}

rollout::group_request of_the_run(std::uint64_t group, std::int64_t new_tokens) {
  auto request = asked(new_tokens, 2, group);
  request.group = group;
  return request;
}

struct what_happened {
  std::vector<std::string> order;                            ///< "run 1", "client 0": groups as they end; "flip 2"
  std::map<std::uint64_t, std::vector<std::int32_t>> tokens; ///< of the first answer of the run's groups
  std::map<int, std::vector<std::int32_t>> heard;            ///< of each client's first answer
  std::map<int, std::string> failures;
  std::string failure;
};

/// A decode loop of four slots with clients.
struct loop {
  tests::watched<what_happened> seen;
  decode_loop decoding;

  explicit loop(interrupt_granularity cuts = interrupt_granularity::token, std::int32_t answers = 0)
      : decoding("rollout/0", nullptr, {.slots = 4}, events(), cuts, answers) {}

  decode_loop::events events() {
    return {[this](std::uint32_t, const std::vector<std::int32_t>&, const rollout::finished_group& group) {
              seen.change([&](auto& s) {
                s.order.push_back("run " + std::to_string(group.group));
                s.tokens[group.group] = group.answers.at(0).tokens;
              });
            },
            [](std::uint32_t, const rollout::partial_group&, const std::string&) {},
            [](std::uint32_t, const rollout::ended_turn&) {},
            [this](std::uint32_t version) {
              seen.change([&](auto& s) { s.order.push_back("flip " + std::to_string(version)); });
            },
            [this](std::string why) { seen.change([&](auto& s) { s.failure = std::move(why); }); }};
  }

  /// @param each is called with each token, on the loop's thread
  std::uint64_t ask(int client, rollout::group_request request, const std::function<void()>& each = {}) {
    return decoding.clients().begin(std::move(request), [this, client, each](const endpoint::news& what) {
      seen.change([&](auto& s) {
        for (const auto& token : what.tokens)
          if (token.answer == 0) {
            s.heard[client].push_back(token.token);
            if (token.end)
              s.order.push_back("client " + std::to_string(client));
          }
        if (!what.failure.empty())
          s.failures[client] = what.failure + " " + std::to_string(what.status);
      });
      if (each)
        each();
    });
  }

  /// Waits until so many groups have ended and weights have flipped.
  std::vector<std::string> order(std::size_t count) {
    REQUIRE(seen.wait([&](const auto& s) { return s.order.size() >= count || !s.failure.empty(); }));
    CHECK(seen.get().failure == "");
    return seen.get().order;
  }
};

} // namespace

TEST_CASE("clients are answered beside the run's groups, which sample as if they were alone") {
  loop alone, shared;
  for (auto* l : {&alone, &shared})
    for (std::uint64_t group = 1; group <= 6; ++group)
      l->decoding.submit(of_the_run(group, 12), 0);
  for (int client = 0; client < 3; ++client)
    shared.ask(client, asked(10, 1, static_cast<std::uint64_t>(client)));
  alone.decoding.hand_over_weights(tiny(1), 1, flip_time::in_flight);
  shared.decoding.hand_over_weights(tiny(1), 1, flip_time::in_flight);
  alone.order(7);
  shared.order(10);
  CHECK(shared.seen.get().tokens == alone.seen.get().tokens);
  REQUIRE(tests::eventually([&] { return shared.decoding.groups() == 0; })); // counted behind what ends with the step
  CHECK(shared.decoding.sampled_tokens() == 6 * 2 * 12);
  CHECK(shared.decoding.take_client_tokens() == 3 * 10);
  CHECK(shared.decoding.take_client_tokens() == 0);
  // What a client hears is what an engine says that has nobody else.
  rollout::engine engine(tiny(1), nullptr, 1, {.slots = 1});
  auto request = asked(10, 1, 2);
  request.group = 1;
  engine.admit(request);
  std::vector<rollout::finished_group> done;
  while (done.empty())
    done = engine.step();
  CHECK(shared.seen.get().heard[2] == done[0].answers[0].tokens);
}

TEST_CASE("clients go before groups that wait for a slot") {
  loop l;
  for (std::uint64_t group = 1; group <= 8; ++group) // of two answers each: the last four wait for three rounds
    l.decoding.submit(of_the_run(group, 20), 0);
  l.ask(0, asked(5));
  l.decoding.hand_over_weights(tiny(1), 1, flip_time::in_flight);
  const auto order = l.order(10);
  CHECK(order[0] == "flip 1");
  CHECK(order[1] == "client 0"); // five tokens, then the run's of twenty
}

TEST_CASE("as many answers of clients are decoded at once as may be, and a larger request alone") {
  loop l(interrupt_granularity::token, 2);
  std::vector<std::size_t> at_once;
  const auto count = [&] { at_once.push_back(l.decoding.clients().in_engine()); };
  for (int client = 0; client < 4; ++client)
    l.ask(client, asked(6), count);
  l.ask(4, asked(6, 3), count);
  l.ask(5, asked(6), count);
  CHECK(l.decoding.clients().waiting() == 8);
  l.decoding.hand_over_weights(tiny(1), 1, flip_time::in_flight);
  l.order(7);
  REQUIRE(tests::eventually([&] { return l.decoding.clients().under_way() == 0; }));
  CHECK(*std::max_element(at_once.begin(), at_once.end()) == 2);
  CHECK(l.seen.get().heard[4].size() == 6);
}

TEST_CASE("new weights that wait for the run's groups do not wait for clients") {
  for (const auto cuts : {interrupt_granularity::token, interrupt_granularity::turn}) {
    CAPTURE(static_cast<int>(cuts));
    loop l(cuts);
    bool handed = false;
    l.decoding.hand_over_weights(tiny(1), 1, flip_time::in_flight);
    l.decoding.submit(of_the_run(1, 10), 0);
    l.ask(0, asked(100), [&] { // on the loop's thread, while the run's group has tokens to go
      if (!std::exchange(handed, true))
        l.decoding.hand_over_weights(tiny(2), 2,
                                     cuts == interrupt_granularity::turn ? flip_time::in_flight : flip_time::when_idle);
    });
    const auto order = l.order(4);
    CHECK(order == std::vector<std::string>{"flip 1", "run 1", "flip 2", "client 0"});
    CHECK(l.seen.get().heard[0].size() == 100);
  }
}

TEST_CASE("a client that goes away leaves the engine, and others go on") {
  loop l(interrupt_granularity::token, 1);
  std::uint64_t first = 0;
  tests::watched<int> tokens;
  l.ask(1, asked(4));
  first = l.ask(0, asked(10'000'000), [&] { tokens.change([](int& n) { ++n; }); });
  l.ask(2, asked(4));
  l.decoding.hand_over_weights(tiny(1), 1, flip_time::in_flight);
  REQUIRE(tokens.wait([](int n) { return n > 2; }));
  l.decoding.clients().cancel(first);
  const auto heard = tokens.get();
  CHECK(l.order(3) == std::vector<std::string>{"flip 1", "client 1", "client 2"});
  CHECK(tokens.get() == heard);
}

TEST_CASE("clients of a loop that has ended are told why, those of later too") {
  loop l;
  l.decoding.submit(of_the_run(1, 0), 0); // no engine takes it
  l.ask(0, asked(4));
  l.decoding.hand_over_weights(tiny(1), 1, flip_time::in_flight);
  REQUIRE(l.seen.wait([](const auto& s) { return !s.failure.empty() && s.failures.contains(0); }));
  l.ask(1, asked(4));
  const auto seen = l.seen.get();
  CHECK(seen.failures.at(0).starts_with("generation ended: "));
  CHECK(seen.failures.at(0).ends_with(" 503"));
  CHECK(seen.failures.at(1) == seen.failures.at(0));
}

TEST_CASE("what the engine does not take is told to its client alone") {
  loop l;
  auto none = asked(4);
  none.prompt.assign(100'000, 5);
  l.ask(0, none);
  l.ask(1, asked(4));
  l.decoding.hand_over_weights(tiny(1), 1, flip_time::in_flight);
  CHECK(l.order(2).back() == "client 1");
  CHECK(l.seen.get().failures.at(0).starts_with("prompt: 100000 tokens, want at most "));
  CHECK(l.seen.get().failures.at(0).ends_with(" 400"));
}

} // namespace decode_loop_clients_test
