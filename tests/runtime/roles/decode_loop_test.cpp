#include "kernels/cached_attention.hpp"
#include "runtime/columns/answer_columns.hpp"
#include "runtime/model/kv_cache.hpp"
#include "runtime/roles/decode_loop.hpp"
#include "tests/runtime/model/random_decoder.hpp"
#include "tests/support/eventually.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <string>
#include <vector>

namespace decode_loop_test {

using namespace millrace;
using namespace millrace::roles;

namespace {

std::shared_ptr<const model::decoder> tiny(std::uint64_t seed) {
  const auto config = tests::tiny_config("llama");
  auto decoder = std::make_shared<model::decoder>(config, tests::random_weights(config, seed, at::kFloat, false));
  decoder->pack();
  return decoder;
}

rollout::group_request request(std::uint64_t group, std::int64_t new_tokens, std::size_t prompt = 3) {
  rollout::group_request r;
  r.group = group;
  r.prompt.assign(prompt, 5);
  r.seed = 100 + group;
  r.how.max_new_tokens = new_tokens;
  return r;
}

struct end_of_group {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  std::vector<std::uint32_t> versions; ///< of the first answer's tokens
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> tokens; ///< of the first answer
};

struct handed_over {
  std::uint32_t attempt = 0;
  rollout::partial_group so_far;
};

struct what_happened {
  std::vector<end_of_group> ends;
  std::vector<handed_over> interrupted;
  std::vector<std::uint32_t> flips;
  std::string failure;
};

/// A decode loop of four slots. `when_finished` runs on the loop's thread, between two decode steps: what it does there
/// comes before the next one.
struct loop {
  tests::watched<what_happened> seen;
  std::function<void(loop&, std::uint64_t group)> when_finished;
  decode_loop decoding;

  static rollout::engine_options options() {
    rollout::engine_options o;
    o.slots = 4;
    return o;
  }

  explicit loop(std::function<void(loop&, std::uint64_t)> on_finished = {},
                const rollout::engine_options& how = options())
      : when_finished(std::move(on_finished)),
        decoding(
            "rollout/0", nullptr, how,
            {[this](std::uint32_t attempt, const std::vector<std::int32_t>& prompt, rollout::finished_group group) {
               if (when_finished)
                 when_finished(*this, group.group);
               seen.change([&](auto& s) {
                 s.ends.push_back(
                     {group.group, attempt, group.answers.at(0).version, prompt, group.answers.at(0).tokens});
               });
             },
             [this](std::uint32_t attempt, rollout::partial_group so_far, const std::string&) {
               seen.change([&](auto& s) { s.interrupted.push_back({attempt, std::move(so_far)}); });
             },
             [](std::uint32_t, const rollout::ended_turn&) {},
             [this](std::uint32_t version) { seen.change([&](auto& s) { s.flips.push_back(version); }); },
             [this](std::string why) { seen.change([&](auto& s) { s.failure = std::move(why); }); }}) {}

  /// The only group that was handed over. @param count how many should have been by now
  handed_over handed(std::size_t count = 1) {
    REQUIRE(seen.wait([&](const auto& s) { return s.interrupted.size() >= count || !s.failure.empty(); }));
    const auto all = seen.get();
    REQUIRE(all.failure == "");
    return all.interrupted.at(count - 1);
  }

  bool wait_for_ends(std::size_t count) {
    return seen.wait([&](const auto& s) { return s.ends.size() >= count || !s.failure.empty(); });
  }

  end_of_group end_of(std::uint64_t group) {
    for (const auto& end : seen.get().ends)
      if (end.group == group)
        return end;
    FAIL("group " << group << " never ended");
    return {};
  }
};

} // namespace

namespace {

/// What the rollout waits for at its cache, as `millrace status` says it; "" = nothing.
std::string cache_wait() {
  for (const auto& wait : telemetry::process_waits().open())
    if (wait.who == "rollout/0" && wait.kind == wait_kind::cache)
      return wait.what;
  return {};
}

/// Room for one answer of the whole context, prompt and all.
rollout::engine_options of_one_answer() {
  auto o = loop::options();
  o.max_context = 64;
  const std::int64_t blocks = o.max_context / kernels::cache_block_tokens + 1;
  o.cache_bytes = blocks * model::kv_pool::make(tests::tiny_config("llama"))->bytes_per_block();
  return o;
}

} // namespace

TEST_CASE("answers that wait for room in the cache are a wait with a name, for as long as they do") {
  std::atomic<bool> waited = false;
  loop l([&](loop&, std::uint64_t) { waited = waited || cache_wait().starts_with("room in the cache for "); },
         of_one_answer());
  for (std::uint64_t group = 1; group <= 4; ++group)
    l.decoding.submit(request(group, 50), 0); // all are here when decoding begins
  l.decoding.hand_over_weights(tiny(1), 1, flip_time::in_flight);
  REQUIRE(l.wait_for_ends(4));
  CHECK(waited);
  CHECK(tests::eventually([] { return cache_wait().empty(); }));
}

TEST_CASE("a wait for room in the cache ends with the groups that waited, without a further step") {
  std::string waited;
  loop l(
      [&](loop& self, std::uint64_t first) {
        waited = cache_wait();
        for (std::uint64_t group = 1; group <= 4; ++group)
          if (group != first)
            self.decoding.cancel(group);
      },
      of_one_answer());
  for (std::uint64_t group = 1; group <= 4; ++group)
    l.decoding.submit(request(group, group == 1 ? 30 : 50), 0);
  l.decoding.hand_over_weights(tiny(1), 1, flip_time::in_flight);
  REQUIRE(l.wait_for_ends(1));
  CHECK(waited.starts_with("room in the cache for "));
  CHECK(tests::eventually([] { return cache_wait().empty(); }));
  CHECK(l.seen.get().ends.size() == 1);
}

TEST_CASE("a decode loop that ends leaves no wait behind") {
  {
    loop l([](loop& self, std::uint64_t group) { self.decoding.submit(request(group + 4, 50), 0); }, of_one_answer());
    for (std::uint64_t group = 1; group <= 4; ++group)
      l.decoding.submit(request(group, 50), 0);
    l.decoding.hand_over_weights(tiny(1), 1, flip_time::in_flight);
    CHECK(tests::eventually([] { return !cache_wait().empty(); }));
  }
  CHECK(cache_wait().empty());
}

TEST_CASE("groups that come before the first weights begin with them") {
  loop l;
  l.decoding.submit(request(1, 5), 1);
  CHECK(l.decoding.groups() == 1);
  l.decoding.hand_over_weights(tiny(1), 3, flip_time::in_flight);
  REQUIRE(l.wait_for_ends(1));
  const auto end = l.end_of(1);
  CHECK(end.versions == std::vector<std::uint32_t>(5, 3));
  CHECK(end.prompt == std::vector<std::int32_t>{5, 5, 5});
  CHECK(l.seen.get().flips == std::vector<std::uint32_t>{3});
  CHECK(tests::eventually([&] { return l.decoding.groups() == 0 && l.decoding.sampled_tokens() == 5; }));
}

TEST_CASE("in flight, the next token of a running answer is sampled from the new weights") {
  loop l([](loop& self, std::uint64_t group) {
    if (group == 1)
      self.decoding.hand_over_weights(tiny(2), 1, flip_time::in_flight);
  });
  l.decoding.submit(request(1, 5), 1);
  l.decoding.submit(request(2, 12), 1);
  l.decoding.hand_over_weights(tiny(1), 0, flip_time::in_flight);
  REQUIRE(l.wait_for_ends(2));
  CHECK(l.end_of(1).versions == std::vector<std::uint32_t>(5, 0));
  std::vector<std::uint32_t> both(5, 0);
  both.resize(12, 1);
  CHECK(l.end_of(2).versions == both);
}

TEST_CASE("not in flight, running answers end under their weights, and what came since waits for the flip") {
  loop l([](loop& self, std::uint64_t group) {
    if (group != 1)
      return;
    self.decoding.hand_over_weights(tiny(2), 1, flip_time::when_idle);
    self.decoding.submit(request(3, 4), 1);
  });
  l.decoding.submit(request(1, 5), 1);
  l.decoding.submit(request(2, 12), 1);
  l.decoding.hand_over_weights(tiny(1), 0, flip_time::in_flight);
  REQUIRE(l.wait_for_ends(3));
  CHECK(l.end_of(2).versions == std::vector<std::uint32_t>(12, 0));
  CHECK(l.end_of(3).versions == std::vector<std::uint32_t>(4, 1));
  CHECK(l.seen.get().flips == std::vector<std::uint32_t>{0, 1});
}

TEST_CASE("a cancelled group never ends, and the loop goes on") { // RO-1
  loop l([](loop& self, std::uint64_t group) {
    if (group == 1)
      self.decoding.cancel(2);
  });
  l.decoding.submit(request(1, 5), 1);
  l.decoding.submit(request(2, 40), 1);
  l.decoding.cancel(77);
  l.decoding.hand_over_weights(tiny(1), 0, flip_time::in_flight);
  REQUIRE(l.wait_for_ends(1));
  CHECK(tests::eventually([&] { return l.decoding.groups() == 0; }));
  l.decoding.submit(request(3, 4), 1);
  REQUIRE(l.wait_for_ends(2));
  CHECK(l.seen.get().ends.at(1).group == 3);
}

TEST_CASE("a group that is cancelled and submitted again ends once, as the later attempt") { // RO-1
  loop l([](loop& self, std::uint64_t group) {
    if (group != 1)
      return;
    self.decoding.cancel(2);
    self.decoding.submit(request(2, 6), 2);
  });
  l.decoding.submit(request(1, 5), 1);
  l.decoding.submit(request(2, 40), 1);
  l.decoding.hand_over_weights(tiny(1), 0, flip_time::in_flight);
  REQUIRE(l.wait_for_ends(2));
  CHECK(l.end_of(2).attempt == 2);
  CHECK(l.end_of(2).versions.size() == 6);
  CHECK(tests::eventually([&] { return l.decoding.groups() == 0; }));
  CHECK(l.seen.get().ends.size() == 2);
}

TEST_CASE("an interrupted group is handed over as it stands and goes on in another loop") { // RO-1, RO-2
  loop whole;
  whole.decoding.submit(request(2, 40), 1);
  whole.decoding.hand_over_weights(tiny(1), 0, flip_time::in_flight);
  loop first([](loop& self, std::uint64_t group) {
    if (group == 1)
      self.decoding.interrupt(2, 1);
  });
  first.decoding.submit(request(1, 5), 1);
  first.decoding.submit(request(2, 40), 1);
  first.decoding.hand_over_weights(tiny(1), 0, flip_time::in_flight);
  const auto handed = first.handed();
  CHECK(handed.attempt == 1);
  CHECK(handed.so_far.group == 2);
  CHECK(handed.so_far.answers.at(0).tokens.size() == 5);
  CHECK(tests::eventually([&] { return first.decoding.groups() == 0; }));
  loop second;
  second.decoding.submit(request(2, 40), 2,
                         columns::partial_of(2, columns::column_set(columns::columns_of(handed.so_far))));
  second.decoding.hand_over_weights(tiny(1), 1, flip_time::in_flight);
  REQUIRE(second.wait_for_ends(1));
  std::vector<std::uint32_t> both(5, 0);
  both.resize(40, 1);
  CHECK(second.end_of(2).attempt == 2);
  CHECK(second.end_of(2).versions == both);
  REQUIRE(whole.wait_for_ends(1));
  CHECK(second.end_of(2).tokens == whole.end_of(2).tokens);
  CHECK(first.seen.get().ends.size() == 1);
}

TEST_CASE("a group that has not begun is handed over with what it came with, in the order of what was asked") { // RO-1
  loop l;
  rollout::partial_group so_far{2, {{{7}, {-1}, {0}, {}, {}, ""}}, {0}};
  l.decoding.submit(request(1, 5), 1);
  l.decoding.submit(request(2, 5), 3, so_far);
  l.decoding.interrupt(1, 1);
  l.decoding.interrupt(2, 2); // of an attempt that is not here
  l.decoding.interrupt(2, 3);
  CHECK(l.handed(1).so_far.answers.empty());
  CHECK(l.handed(2).so_far.answers.at(0).tokens == std::vector<std::int32_t>{7});
  l.decoding.submit(request(3, 4), 1);
  l.decoding.interrupt(3, 9);
  l.decoding.hand_over_weights(tiny(1), 0, flip_time::in_flight);
  REQUIRE(l.wait_for_ends(1));
  CHECK(l.end_of(3).attempt == 1);
  CHECK(l.seen.get().interrupted.size() == 2);
  CHECK(tests::eventually([&] { return l.decoding.groups() == 0; }));
}

TEST_CASE("weights that wait for the loop to drain come once the last group is handed over") {
  loop l([](loop& self, std::uint64_t group) {
    if (group != 1)
      return;
    self.decoding.hand_over_weights(tiny(2), 1, flip_time::when_idle);
    self.decoding.submit(request(3, 4), 1);
    self.decoding.interrupt(2, 1);
  });
  l.decoding.submit(request(1, 5), 1);
  l.decoding.submit(request(2, 40), 1);
  l.decoding.hand_over_weights(tiny(1), 0, flip_time::in_flight);
  REQUIRE(l.wait_for_ends(2));
  CHECK(l.handed().so_far.answers.at(0).version == std::vector<std::uint32_t>(5, 0));
  CHECK(l.end_of(3).versions == std::vector<std::uint32_t>(4, 1));
}

TEST_CASE("a later attempt takes the place of an earlier one that was never cancelled") { // RO-1
  loop l([](loop& self, std::uint64_t group) {
    if (group == 1)
      self.decoding.submit(request(2, 6), 2);
  });
  l.decoding.submit(request(1, 5), 1);
  l.decoding.submit(request(2, 40), 1);
  l.decoding.hand_over_weights(tiny(1), 0, flip_time::in_flight);
  REQUIRE(l.wait_for_ends(2));
  CHECK(l.end_of(2).attempt == 2);
  CHECK(l.seen.get().failure.empty());
}

TEST_CASE("what the engine refuses ends the loop with its line, and the loop still closes") {
  loop l;
  l.decoding.submit(request(1, 5, 100), 1); // the model's context is 64
  l.decoding.hand_over_weights(tiny(1), 0, flip_time::in_flight);
  CHECK(l.seen.wait([](const auto& s) { return !s.failure.empty(); }));
  CHECK(l.seen.get().failure.find("100") != std::string::npos);
}

TEST_CASE("a loop with work at hand closes without finishing it") {
  {
    loop l;
    for (std::uint64_t group = 0; group < 200; ++group)
      l.decoding.submit(request(group, 50), 1);
    l.decoding.hand_over_weights(tiny(1), 0, flip_time::in_flight);
    CHECK(tests::eventually([&] { return l.decoding.sampled_tokens() > 0; }));
    CHECK(l.decoding.groups() > 0);
  }
}

} // namespace decode_loop_test
