#include "runtime/rollout/engine.hpp"
#include "runtime/input_error.hpp"
#include "runtime/model/answer_logprobs.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/model/inference_operations.hpp"
#include "tests/runtime/model/random_decoder.hpp"

#include <doctest/doctest.h>

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <random>

using namespace millrace;
using rollout::answer;
using rollout::engine;
using rollout::engine_options;
using rollout::finish_reason;
using rollout::finished_group;
using rollout::group_request;
using rollout::partial_group;
using rollout::running_cache;

namespace {

std::shared_ptr<const model::decoder> tiny(std::uint64_t seed = 7, at::Device device = at::kCPU) {
  const auto config = tests::tiny_config(model::family::llama);
  return model::inference_decoder(config, tests::random_weights(config, seed, at::kFloat, false), device);
}

/// 40 tokens of one letter each: a b c ... z A B ... N.
std::shared_ptr<const model::tokenizer> letters() {
  model::tokenizer_data data;
  data.origin = "letters";
  for (int i = 0; i < 40; ++i)
    data.vocabulary.push_back(std::string(1, static_cast<char>(i < 26 ? 'a' + i : 'A' + i - 26)));
  model::pre_tokenizer_step bytes;
  bytes.what = model::pre_tokenizer_step::kind::byte_level;
  bytes.use_regex = false;
  data.pre_tokenizer.push_back(bytes);
  return std::make_shared<model::tokenizer>(data);
}

group_request request(std::uint64_t group, std::int32_t answers, std::int64_t max_new_tokens = 20) {
  group_request r{.group = group, .prompt = {}, .answers = answers, .seed = 1000 + group, .how = {}};
  for (std::uint64_t i = 0; i < 5 + 6 * group; ++i)
    r.prompt.push_back(static_cast<std::int32_t>((i * 7 + group) % 40));
  r.how.max_new_tokens = max_new_tokens;
  return r;
}

std::map<std::uint64_t, finished_group> finish(engine& e) {
  std::map<std::uint64_t, finished_group> all;
  for (int steps = 0; !e.idle(); ++steps) {
    REQUIRE(steps < 1000);
    for (auto& g : e.step())
      all.emplace(g.group, std::move(g));
  }
  return all;
}

bool same(const answer& a, const answer& b) {
  return a.tokens == b.tokens && a.logprob == b.logprob && a.finish == b.finish && a.text == b.text;
}

void check_same(const finished_group& a, const finished_group& b) {
  REQUIRE(a.answers.size() == b.answers.size());
  for (std::size_t i = 0; i < a.answers.size(); ++i) {
    CAPTURE(i);
    CHECK(same(a.answers[i], b.answers[i]));
  }
}

bool no_gpu() {
  if (at::hasCUDA())
    return false;
  MESSAGE("skipped: no CUDA device");
  return true;
}

/// The same answers by another order of adding.
void check_close(const finished_group& a, const finished_group& b) {
  REQUIRE(a.answers.size() == b.answers.size());
  for (std::size_t i = 0; i < a.answers.size(); ++i) {
    CAPTURE(i);
    const auto &x = a.answers[i], &y = b.answers[i];
    REQUIRE(x.tokens == y.tokens);
    CHECK(x.version == y.version);
    CHECK(x.recomputed == y.recomputed);
    CHECK(x.finish == y.finish);
    CHECK(x.text == y.text);
    for (std::size_t t = 0; t < x.logprob.size(); ++t)
      CHECK(std::abs(x.logprob[t] - y.logprob[t]) < 1e-4);
  }
}

/// Log-probabilities of an answer's tokens under one version's weights.
std::vector<float> scores(const model::decoder& policy, const group_request& r, const answer& a) {
  return model::answer_logprobs(policy, r.prompt, {&a.tokens, 1}, r.how.temperature, 1);
}

/// The same, where keys and values of what was drawn before token `flip` are the old version's: one row after another.
std::vector<float> scores_of_mixed_cache(const model::decoder& before, const model::decoder& after, const group_request& r,
                                         const answer& a, std::size_t flip) {
  kernels::thread_team team(1);
  model::inference_operations operations(team);
  model::kv_sequence sequence(model::kv_pool::make(before.config()));
  std::vector<std::int32_t> text = r.prompt;
  text.insert(text.end(), a.tokens.begin(), a.tokens.end());
  std::vector<float> found;
  for (std::size_t at = 0; at + 1 < text.size(); ++at) {
    const auto& policy = at + 1 < r.prompt.size() + flip ? before : after;
    sequence.grow(1);
    const model::inference_row row{text[at], &sequence, static_cast<std::int64_t>(at)};
    const at::Tensor hidden = operations.forward(policy, {&row, 1});
    const std::int64_t first = 0;
    if (at + 1 >= r.prompt.size())
      found.push_back(at::log_softmax(operations.logits(policy, hidden, {&first, 1})[0], 0)[text[at + 1]].item<float>());
  }
  return found;
}

double largest_gap(const std::vector<float>& a, const std::vector<float>& b, std::size_t from = 0) {
  REQUIRE(a.size() == b.size());
  double gap = 0;
  for (std::size_t i = from; i < a.size(); ++i)
    gap = std::max(gap, std::abs(double{a[i]} - b[i]));
  return gap;
}

} // namespace

TEST_CASE("an answer has the same bits whoever shares its batch, whatever the slots, threads and prefill") {
  const auto policy = tiny();
  const auto tok = letters();
  engine alone(policy, tok, 1, {.slots = 8});
  alone.admit(request(3, 5));
  const auto want = finish(alone).at(3);
  for (const auto& options : {engine_options{.slots = 1}, engine_options{.slots = 2, .threads = 2},
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

TEST_CASE("a staged policy samples from the next step on and stamps its version") {
  const auto policy = tiny();
  engine e(policy, nullptr, 4, {.slots = 3});
  engine untouched(policy, nullptr, 4, {.slots = 3});
  e.admit(request(1, 3, 10));
  untouched.admit(request(1, 3, 10));
  for (int i = 0; i < 4; ++i)
    e.step();
  CHECK(e.version() == 4);
  e.stage(tiny(8), 5);
  e.stage(tiny(9), 6); // replaces the one before
  CHECK(e.version() == 6);
  const auto mixed = finish(e).at(1), pure = finish(untouched).at(1);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& a = mixed.answers[i];
    CHECK(a.version == std::vector<std::uint32_t>{4, 4, 4, 4, 6, 6, 6, 6, 6, 6});
    CHECK(std::equal(a.logprob.begin(), a.logprob.begin() + 4, pure.answers[i].logprob.begin()));
    CHECK(a.logprob[4] != pure.answers[i].logprob[4]);
  }
}

TEST_CASE("a flip to the same weights changes nothing but the stamp") {
  engine flipped(tiny(), nullptr, 1, {.slots = 3}), pure(tiny(), nullptr, 1, {.slots = 3});
  flipped.admit(request(1, 4));
  pure.admit(request(1, 4));
  for (int i = 0; i < 5; ++i)
    flipped.step();
  flipped.stage(tiny(), 2);
  const auto a = finish(flipped).at(1), b = finish(pure).at(1);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(same(a.answers[i], b.answers[i]));
}

TEST_CASE("a group that is interrupted at any token and goes on anywhere gives the same bits") {
  const auto policy = tiny();
  const auto tok = letters();
  auto r = request(3, 5);
  r.greedy = 1;
  const auto made = [&](const engine_options& options) { return engine(policy, tok, 1, options); };
  engine alone = made({.slots = 8});
  alone.admit(r);
  const auto without_end = finish(alone).at(3);
  r.how.end_tokens = {without_end.answers[0].tokens[6]};  // ends of all kinds
  r.how.stop = {without_end.answers[1].text.substr(9, 2)};
  engine whole = made({.slots = 8});
  whole.admit(r);
  const auto want = finish(whole).at(3);
  std::mt19937 random(1);
  for (int round = 0; round < 40; ++round) {
    CAPTURE(round);
    std::optional<partial_group> so_far;
    finished_group got;
    for (bool done = false; !done;) { // another engine each time
      engine e = made({.slots = 1 + static_cast<int>(random() % 6), .prefill_rows = 1 + static_cast<int>(random() % 40),
                       .threads = 1 + static_cast<int>(random() % 2)});
      if (random() % 2)
        e.admit(request(1, 2));
      e.admit(r, std::exchange(so_far, std::nullopt));
      for (std::size_t steps = random() % 30; steps-- > 0 && !done;)
        for (auto& group : e.step())
          if (group.group == 3) {
            got = std::move(group);
            done = true;
          }
      if (!done) {
        so_far = e.interrupt(3);
        REQUIRE(so_far);
        CHECK_FALSE(e.interrupt(3));
      }
    }
    check_same(got, want);
  }
}

TEST_CASE("what goes on under other weights is stamped with them, and scoring finds every stamp, bit for bit") {
  const auto before = tiny(7), after = tiny(8);
  const auto r = request(2, 6);
  for (int k : {0, 1, 2, 7, 19}) {
    CAPTURE(k);
    engine first(before, nullptr, 4, {.slots = 6}), second(after, nullptr, 5, {.slots = 2, .prefill_rows = 5});
    first.admit(r);
    for (int step = 0; step < k; ++step)
      first.step();
    second.admit(r, first.interrupt(2));
    CHECK(first.idle());
    const auto made = finish(second).at(2).answers;
    for (const auto& a : made) {
      std::vector<std::uint32_t> versions(static_cast<std::size_t>(k), 4);
      versions.resize(20, 5);
      CHECK(a.version == versions);
      CHECK(a.recomputed == (k > 0 ? std::vector<std::int32_t>{k} : std::vector<std::int32_t>{}));
      auto want = scores(*before, r, a);
      const auto later = scores(*after, r, a);
      std::copy(later.begin() + k, later.end(), want.begin() + k);
      CHECK(a.logprob == want);
    }
  }
}

TEST_CASE("answers that had ended stay as they are, and a group of nothing else is finished at once") {
  engine first(tiny(), letters(), 4, {.slots = 1}), second(tiny(8), letters(), 5, {.slots = 1});
  first.admit(request(1, 3, 6));
  for (int step = 0; step < 14; ++step)
    first.step();
  auto so_far = first.interrupt(1);
  REQUIRE(so_far);
  CHECK(so_far->ended == std::vector<std::uint8_t>{1, 1, 0});
  CHECK(so_far->answers[2].tokens.size() == 2);
  const auto before = *so_far;
  second.admit(request(1, 3, 6), *so_far);
  CHECK(second.waiting_answers() == 1);
  const auto group = finish(second).at(1);
  CHECK(same(group.answers[0], before.answers[0]));
  CHECK(same(group.answers[1], before.answers[1]));
  CHECK(group.answers[2].version == std::vector<std::uint32_t>{4, 4, 5, 5, 5, 5});
  second.admit(request(1, 3, 6), partial_group{1, group.answers, {1, 1, 1}});
  CHECK(second.waiting_answers() == 0);
  const auto at_once = second.step();
  REQUIRE(at_once.size() == 1);
  check_same(at_once[0], group);
  CHECK(second.idle());
}

TEST_CASE("what was handed over of another request is refused") {
  engine e(tiny(), nullptr, 1, {.slots = 2});
  e.admit(request(1, 2));
  e.step();
  const auto so_far = *e.interrupt(1);
  CHECK_THROWS_AS(e.admit(request(2, 2), so_far), std::invalid_argument);
  CHECK_THROWS_AS(e.admit(request(1, 3), so_far), std::invalid_argument);
  CHECK_THROWS_AS(e.admit(request(1, 2, 1), so_far), std::invalid_argument); // no room for another token
  auto broken = so_far;
  broken.answers[0].version.clear();
  CHECK_THROWS_AS(e.admit(request(1, 2), broken), std::invalid_argument);
  broken = so_far;
  broken.answers[0].tokens[0] = 40;
  CHECK_THROWS_AS(e.admit(request(1, 2), broken), std::invalid_argument);
  e.admit(request(1, 2), so_far);
  CHECK(e.groups() == 1);
}

TEST_CASE("keys and values that stay over a flip, or are computed anew, are what the next tokens see") {
  const auto before = tiny(7), after = tiny(8);
  const auto r = request(2, 3);
  constexpr std::size_t flip = 8;
  for (const auto cache : {running_cache::keep, running_cache::recompute}) {
    engine e(before, nullptr, 4, {.slots = 3, .prefill_rows = 20});
    e.admit(r);
    for (std::size_t step = 0; step < flip; ++step)
      e.step();
    e.stage(after, 5, cache);
    const auto made = finish(e).at(2).answers;
    for (const auto& a : made) {
      REQUIRE(a.version[flip - 1] == 4);
      REQUIRE(a.version[flip] == 5);
      const auto fresh = scores(*after, r, a);
      if (cache == running_cache::recompute) {
        CHECK(a.recomputed == std::vector<std::int32_t>{flip});
        CHECK(largest_gap(a.logprob, fresh, flip) == 0);
      } else {
        CHECK(a.recomputed.empty());
        CHECK(largest_gap(a.logprob, fresh, flip) > 0.01); // other weights altogether
        CHECK(largest_gap(a.logprob, scores_of_mixed_cache(*before, *after, r, a, flip)) < 1e-5);
      }
    }
  }
}

TEST_CASE("a prompt's keys and values are never older than the first token drawn from them") {
  const auto before = tiny(7), after = tiny(8);
  const auto r = request(2, 4, 6);
  engine e(before, nullptr, 4, {.slots = 2, .prefill_rows = 5});
  e.admit(r);
  while (e.last_step().sampled_tokens == 0)
    e.step();
  e.stage(after, 5);
  const auto group = finish(e).at(2);
  for (const std::size_t late : {2, 3}) { // had no slot before
    CHECK(group.answers[late].version == std::vector<std::uint32_t>(6, 5));
    CHECK(group.answers[late].logprob == scores(*after, r, group.answers[late]));
  }
  engine halfway(before, nullptr, 4, {.slots = 4, .prefill_rows = 5});
  halfway.admit(r);
  halfway.step();
  halfway.stage(after, 5);
  const auto made = finish(halfway).at(2).answers;
  for (const auto& a : made)
    CHECK(a.logprob == scores(*after, r, a));
}

TEST_CASE("weights that come while an answer is computed anew find nothing half done") {
  const auto first = tiny(7), second = tiny(8), third = tiny(9);
  const auto r = request(2, 1);
  engine e(first, nullptr, 4, {.slots = 1, .prefill_rows = 4});
  e.admit(r);
  while (e.last_step().sampled_tokens == 0)
    e.step();
  for (int step = 0; step < 9; ++step)
    e.step();
  e.stage(second, 5, running_cache::recompute);
  for (int step = 0; step < 6; ++step) { // 17 + 10 tokens, 4 at a time
    e.step();
    CHECK(e.last_step().sampled_tokens == 0);
  }
  e.stage(third, 6, running_cache::keep);
  const auto a = finish(e).at(2).answers[0];
  CHECK(a.version[9] == 4);
  CHECK(a.version[10] == 6);
  CHECK(a.recomputed == std::vector<std::int32_t>{10});
  CHECK(largest_gap(a.logprob, scores(*third, r, a), 10) == 0);
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
  const auto config = tests::tiny_config(model::family::llama);
  const auto loose =
      std::make_shared<model::decoder>(config, tests::random_weights(config, 1, at::kFloat, false)); // not packed
  CHECK_THROWS_AS(engine(loose, nullptr, 1, {}), std::invalid_argument);
  engine e(tiny(), nullptr, 1, {.slots = 1});
  CHECK_THROWS_AS(e.stage(loose, 2), std::invalid_argument);
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
    for (const auto& options : {engine_options{.slots = 1}, engine_options{.slots = 2, .threads = 2}, engine_options{.slots = 3, .prefill_rows = 4},
                                engine_options{.slots = 16, .threads = 2}}) {
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

TEST_CASE("an answer on CUDA has the CPU's tokens, alone and whoever shares its batch") {
  if (no_gpu())
    return;
  const auto tok = letters();
  auto r = request(3, 5);
  r.greedy = 1;
  r.how.top_p = 0.95;
  engine cpu(tiny(), tok, 1, {.slots = 8});
  cpu.admit(r);
  const auto want = finish(cpu).at(3);
  const auto policy = tiny(7, at::kCUDA);
  for (const auto& options : {engine_options{.slots = 8}, engine_options{.slots = 1}, engine_options{.slots = 3, .prefill_rows = 4},
                              engine_options{.slots = 64}}) {
    CAPTURE(options.slots);
    engine alone(policy, tok, 1, options), crowded(policy, tok, 1, options);
    alone.admit(r);
    check_close(finish(alone).at(3), want);
    crowded.admit(request(1, 7));
    crowded.step();
    crowded.admit(request(2, 20, 11));
    crowded.step();
    crowded.admit(r);
    crowded.admit(request(4, 3));
    check_close(finish(crowded).at(3), want);
  }
}

TEST_CASE("log-probabilities stamped on CUDA are those that scoring finds there, within 1e-4") {
  if (no_gpu())
    return;
  const auto policy = tiny(7, at::kCUDA);
  engine e(policy, nullptr, 1, {.slots = 4});
  auto r = request(2, 6);
  r.how.temperature = 0.6;
  e.admit(r);
  const auto found = finish(e).at(2);
  for (const auto& a : found.answers)
    CHECK(largest_gap(a.logprob, scores(*policy, r, a)) < 1e-4);
}

TEST_CASE("new weights on CUDA flip between two steps as on the CPU, keys and values kept or computed anew") {
  if (no_gpu())
    return;
  for (const auto cache : {running_cache::keep, running_cache::recompute}) {
    const auto made = [&](at::Device device) {
      engine e(tiny(7, device), letters(), 4, {.slots = 3, .prefill_rows = 20});
      e.admit(request(2, 5));
      for (int step = 0; step < 8; ++step)
        e.step();
      e.stage(tiny(8, device), 5, cache);
      for (int step = 0; step < 5; ++step)
        e.step();
      e.stage(tiny(9, device), 6, cache);
      return finish(e).at(2);
    };
    check_close(made(at::kCUDA), made(at::kCPU));
  }
  engine e(tiny(7, at::kCUDA), nullptr, 1, {.slots = 1});
  CHECK_THROWS_AS(e.stage(tiny(8), 2), std::invalid_argument); // on another device
}

TEST_CASE("a group that is interrupted on CUDA goes on there or on the CPU with the same tokens") {
  if (no_gpu())
    return;
  const auto tok = letters();
  const auto r = request(3, 5);
  engine alone(tiny(), tok, 1, {.slots = 8});
  alone.admit(r);
  auto want = finish(alone).at(3);
  for (auto& a : want.answers)
    a.recomputed.clear(); // says where each was handed over
  for (const int steps : {0, 1, 3, 9, 17})
    for (const at::Device second : {at::Device(at::kCUDA), at::Device(at::kCPU)}) {
      CAPTURE(steps);
      engine from(tiny(7, at::kCUDA), tok, 1, {.slots = 3, .prefill_rows = 16});
      from.admit(r);
      for (int step = 0; step < steps; ++step)
        from.step();
      engine to(tiny(7, second), tok, 1, {.slots = 4, .prefill_rows = 9});
      to.admit(request(1, 2));
      to.admit(r, from.interrupt(3));
      auto got = finish(to).at(3);
      for (auto& a : got.answers)
        a.recomputed.clear();
      check_close(got, want);
    }
}
