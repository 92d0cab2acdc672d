#include "runtime/rollout/engine.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/rollout/tiny_engine.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace engine_test {

using namespace millrace;
using namespace millrace::tests::tiny_engine;

TEST_CASE("an answer has the same bits whoever shares its batch, whatever the slots, threads and prefill") {
  const auto policy = tiny();
  const auto tok = letters();
  engine alone(policy, tok, 1, {.slots = 8});
  alone.admit(request(3, 5));
  const auto want = finish(alone).at(3);
  for (const auto& options :
       {engine_options{.slots = 1}, engine_options{.slots = 2, .threads = 2},
        engine_options{.slots = 3, .prefill_rows = 4}, engine_options{.slots = 16, .threads = 3}}) {
    engine crowded(policy, tok, 1, options);
    for (const std::uint64_t group : {1, 2, 3, 4})
      crowded.admit(request(group, group == 3 ? 5 : 3, 9 + 4 * static_cast<std::int64_t>(group == 3 ? 3 : group)));
    auto r = request(3, 5);
    engine cut(policy, tok, 1, options);
    cut.admit(request(1, 7));
    cut.step();
    cut.step();
    cut.admit(r);
    const auto late = finish(cut).at(3);
    for (std::size_t i = 0; i < 5; ++i) {
      CAPTURE(options.slots);
      CHECK(same(late.answers[i], want.answers[i]));
    }
    const auto all = finish(crowded);
    CHECK(all.size() == 4);
    for (std::size_t i = 0; i < 5; ++i) // max_new_tokens is 21 there and 20 here
      CHECK(std::equal(want.answers[i].tokens.begin(), want.answers[i].tokens.end(),
                       all.at(3).answers[i].tokens.begin()));
  }
}

TEST_CASE("stamped log-probabilities are those that scoring finds, bit for bit") {
  const auto policy = tiny();
  for (const double temperature : {1.0, 0.6}) {
    engine e(policy, nullptr, 1, {.slots = 4});
    auto r = request(2, 6);
    r.how.temperature = temperature;
    e.admit(r);
    const auto group = finish(e).at(2);
    std::vector<std::vector<std::int32_t>> answers;
    std::vector<float> stamped;
    for (const auto& a : group.answers) {
      answers.push_back(a.tokens);
      stamped.insert(stamped.end(), a.logprob.begin(), a.logprob.end());
    }
    CHECK(model::answer_logprobs(*policy, r.prompt, answers, temperature, 2) == stamped);
  }
}

TEST_CASE("answers of a group differ, another seed gives others") {
  const auto policy = tiny();
  engine e(policy, nullptr, 1, {.slots = 4});
  e.admit(request(1, 2));
  auto other = request(2, 1);
  other.prompt = request(1, 1).prompt;
  e.admit(other);
  const auto all = finish(e);
  CHECK(all.at(1).answers[0].tokens != all.at(1).answers[1].tokens);
  CHECK(all.at(1).answers[0].tokens != all.at(2).answers[0].tokens);
}

TEST_CASE("the prompt of a group is computed once") {
  engine e(tiny(), nullptr, 1, {.slots = 8, .prefill_rows = 4});
  e.admit(request(2, 8));
  std::int64_t prompt_tokens = 0, sampled = 0;
  while (!e.idle()) {
    e.step();
    prompt_tokens += e.last_step().prompt_tokens;
    sampled += e.last_step().sampled_tokens;
  }
  CHECK(prompt_tokens == 17);
  CHECK(sampled == 8 * 20);
}

TEST_CASE("a finished answer's slot is taken at the next step") {
  engine e(tiny(), nullptr, 1, {.slots = 2});
  auto r = request(1, 5, 3);
  e.admit(r);
  int steps = 0;
  for (; !e.idle(); ++steps) {
    e.step();
    if (!e.idle() && steps < 6)
      CHECK(e.last_step().occupied == 2);
  }
  CHECK(steps == 9); // 5 answers of 3 tokens on 2 slots: 3 rounds of 3 steps
  CHECK(e.free_slots() == 2);
}

TEST_CASE("an end token ends an answer, stays in its tokens and leaves its text") {
  const auto tok = letters();
  engine free(tiny(), tok, 1, {.slots = 1}), ended(tiny(), tok, 1, {.slots = 1});
  free.admit(request(1, 1));
  const auto tokens = finish(free).at(1).answers[0].tokens;
  auto r = request(1, 1);
  r.how.end_tokens = {tokens[6]};
  const auto first = static_cast<std::size_t>(std::find(tokens.begin(), tokens.end(), tokens[6]) - tokens.begin());
  ended.admit(r);
  const auto a = finish(ended).at(1).answers[0];
  CHECK(a.tokens == std::vector<std::int32_t>(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(first) + 1));
  CHECK(a.finish == finish_reason::stop);
  CHECK(a.text == tok->decode(std::span(tokens).first(first)));
}

TEST_CASE("a stop string over two tokens ends an answer and is cut from its text") {
  const auto tok = letters();
  engine free(tiny(), tok, 1, {.slots = 1}), stopped(tiny(), tok, 1, {.slots = 1});
  free.admit(request(1, 1));
  const auto text = finish(free).at(1).answers[0].text;
  REQUIRE(text.size() == 20);
  auto r = request(1, 1);
  r.how.stop = {"not there", text.substr(9, 2)};
  const auto place = text.find(r.how.stop[1]);
  stopped.admit(r);
  const auto a = finish(stopped).at(1).answers[0];
  CHECK(a.text == text.substr(0, place));
  CHECK(a.tokens.size() == place + 2);
  CHECK(a.finish == finish_reason::stop);
}

TEST_CASE("the context ends an answer") {
  engine e(tiny(), nullptr, 1, {.slots = 2, .max_context = 16});
  e.admit(request(1, 2, 100)); // a prompt of 11
  const auto group = finish(e).at(1);
  for (const auto& a : group.answers) {
    CHECK(a.tokens.size() == 5);
    CHECK(a.finish == finish_reason::length);
  }
}

TEST_CASE("a prompt that fills the context is refused with its numbers; one token less is not") {
  engine e(tiny(), nullptr, 1, {.slots = 1, .max_context = 11});
  CHECK_THROWS_WITH_AS(e.admit(request(1, 1)), "prompt: 11 tokens, want at most 10 (the context is 11)", input_error);
  auto r = request(1, 1);
  r.prompt.pop_back();
  e.admit(r);
  CHECK(finish(e).at(1).answers[0].tokens.size() == 1);
  r.prompt.clear();
  CHECK_THROWS_AS(e.admit(r), input_error);
}

TEST_CASE("a cancelled group leaves its slots and no trace") {
  engine e(tiny(), nullptr, 1, {.slots = 2}), pure(tiny(), nullptr, 1, {.slots = 2});
  e.admit(request(1, 4));
  e.admit(request(2, 2));
  pure.admit(request(2, 2));
  e.step();
  CHECK(e.waiting_answers() == 4);
  CHECK(e.cancel(1));
  CHECK_FALSE(e.cancel(1));
  CHECK(e.free_slots() == 2);
  const auto left = finish(e), want = finish(pure);
  CHECK(left.size() == 1);
  for (std::size_t i = 0; i < 2; ++i)
    CHECK(same(left.at(2).answers[i], want.at(2).answers[i]));
}

TEST_CASE("temperature 0 takes the likeliest token each time") {
  const auto policy = tiny();
  engine e(policy, nullptr, 1, {.slots = 2});
  auto r = request(1, 2);
  r.how.temperature = 0;
  e.admit(r);
  const auto group = finish(e).at(1);
  CHECK(group.answers[0].tokens == group.answers[1].tokens);
  const auto& tokens = group.answers[0].tokens;
  for (std::int32_t word = 0; word < 40; ++word) {
    auto other = tokens;
    other.back() = word;
    const std::vector<std::vector<std::int32_t>> pair{tokens, other};
    const auto logprob = model::answer_logprobs(*policy, r.prompt, pair, 1, 1);
    CHECK(logprob[39] <= logprob[19]);
  }
}

TEST_CASE("wrong calls are refused") {
  const auto config = tests::tiny_config("llama");
  const auto loose =
      std::make_shared<model::decoder>(config, tests::random_weights(config, 1, at::kFloat, false)); // not packed
  CHECK_THROWS_AS(engine(loose, nullptr, 1, {}), std::invalid_argument);
  engine e(tiny(), nullptr, 1, {.slots = 1});
  CHECK_THROWS_AS(e.hand_over_weights(loose, 2), std::invalid_argument);
  e.admit(request(1, 1));
  CHECK_THROWS_AS(e.admit(request(1, 1)), std::invalid_argument);
  auto r = request(2, 1);
  r.how.stop = {"x"};
  CHECK_THROWS_AS(e.admit(r), std::invalid_argument); // no tokenizer
  r = request(2, 1);
  r.prompt[0] = 40;
  CHECK_THROWS_AS(e.admit(r), std::invalid_argument);
  r = request(2, 0);
  CHECK_THROWS_AS(e.admit(r), std::invalid_argument);
}

TEST_CASE("the last answers of a group can be greedy beside sampled ones, which stay what they were") {
  const auto policy = tiny();
  const auto tok = letters();
  const auto made = [&](std::int32_t answers, std::int32_t greedy, double temperature) {
    engine e(policy, tok, 1, {.slots = 8});
    auto r = request(3, answers);
    r.greedy = greedy;
    r.how.temperature = temperature;
    e.admit(std::move(r));
    return finish(e).at(3).answers;
  };
  const auto sampled = made(4, 0, 1.0), with = made(5, 1, 1.0), greedy = made(1, 0, 0.0);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(same(with[i], sampled[i]));
  CHECK(same(with[4], greedy[0]));
  engine e(policy, tok, 1, {.slots = 8});
  auto r = request(3, 2);
  r.greedy = 3;
  CHECK_THROWS_AS(e.admit(std::move(r)), std::invalid_argument);
}

namespace {

/// Ten answers of lengths from 1 to 20.
group_request of_many_lengths(std::int32_t needed = 0) {
  auto r = request(3, 10);
  r.how.end_tokens = {3, 11, 29};
  r.needed = needed;
  return r;
}

std::vector<std::pair<std::size_t, std::int32_t>> ranks_of(const finished_group& all) {
  std::vector<std::pair<std::size_t, std::int32_t>> ranks;
  for (std::size_t i = 0; i < all.answers.size(); ++i)
    ranks.emplace_back(all.answers[i].tokens.size(), static_cast<std::int32_t>(i));
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

void check_kept(const finished_group& found, const finished_group& all, std::int32_t needed) {
  const auto ranks = ranks_of(all);
  std::vector<std::int32_t> want;
  for (std::int32_t i = 0; i < needed; ++i)
    want.push_back(ranks[static_cast<std::size_t>(i)].second);
  std::sort(want.begin(), want.end());
  REQUIRE(found.kept == want);
  REQUIRE(found.answers.size() == want.size());
  for (std::size_t i = 0; i < want.size(); ++i)
    CHECK(same(found.answers[i], all.answers[static_cast<std::size_t>(want[i])]));
}

} // namespace

TEST_CASE("of the answers that are begun the shortest are kept, the same ones whatever the slots and the company") {
  const auto policy = tiny();
  engine alone(policy, letters(), 1, {.slots = 16});
  alone.admit(of_many_lengths());
  const auto all = finish(alone).at(3);
  CHECK(all.kept.empty());
  REQUIRE(ranks_of(all).front().first < ranks_of(all).back().first);
  for (const std::int32_t needed : {1, 4, 6, 9}) {
    const auto longest = ranks_of(all)[static_cast<std::size_t>(needed - 1)].first;
    std::int64_t least = 0; // what the others have when each began with the others
    for (std::size_t i = static_cast<std::size_t>(needed); i < 10; ++i)
      least += static_cast<std::int64_t>(std::min(ranks_of(all)[i].first, longest));
    for (const auto& options :
         {engine_options{.slots = 1}, engine_options{.slots = 2, .threads = 2},
          engine_options{.slots = 3, .prefill_rows = 4}, engine_options{.slots = 16, .threads = 2}}) {
      CAPTURE(needed);
      CAPTURE(options.slots);
      engine e(policy, letters(), 1, options);
      e.admit(request(1, 2));
      e.admit(of_many_lengths(needed));
      e.admit(request(2, 3));
      const auto found = finish(e).at(3);
      check_kept(found, all, needed);
      CHECK(found.surplus_tokens >= least - (10 - needed)); // one less where an answer could only have tied
      if (options.slots == 16)
        CHECK(found.surplus_tokens <= least);
      CHECK(e.free_slots() == options.slots);
    }
  }
}

TEST_CASE("a group that is handed over keeps the same answers as one that is not") {
  const auto policy = tiny();
  engine alone(policy, letters(), 1, {.slots = 16});
  alone.admit(of_many_lengths());
  const auto all = finish(alone).at(3);
  for (const std::int32_t slots : {2, 16})
    for (int steps = 1; steps < 24; steps += 3) {
      CAPTURE(slots);
      CAPTURE(steps);
      engine first(policy, letters(), 1, {.slots = slots});
      first.admit(of_many_lengths(6));
      std::optional<finished_group> early;
      for (int i = 0; i < steps && !early; ++i)
        for (auto& done : first.step())
          early = std::move(done);
      if (early) {
        check_kept(*early, all, 6);
        continue;
      }
      auto so_far = first.interrupt(3);
      REQUIRE(so_far);
      std::int64_t had = 0, has = 0;
      for (const auto& each : so_far->answers)
        had += static_cast<std::int64_t>(each.tokens.size());
      for (auto& each : so_far->answers) // as it comes over the wire
        each.text.clear();
      engine second(policy, letters(), 1, {.slots = 3});
      second.admit(of_many_lengths(6), std::move(so_far));
      const auto found = finish(second).at(3);
      check_kept(found, all, 6);
      for (const auto& each : found.answers)
        has += static_cast<std::int64_t>(each.tokens.size());
      CHECK(has + found.surplus_tokens >= had);
    }
}

TEST_CASE("a group cannot keep more answers than it begins, nor be shortened beside a greedy one") {
  engine e(tiny(), letters(), 1, {.slots = 2});
  CHECK_THROWS_AS(e.admit(of_many_lengths(11)), std::invalid_argument);
  auto r = of_many_lengths(6);
  r.greedy = 1;
  CHECK_THROWS_AS(e.admit(r), std::invalid_argument);
}

} // namespace engine_test
