#include "runtime/rollout/engine.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/rollout/tiny_engine.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace engine_cuda_test {

using namespace millrace;
using namespace millrace::tests::tiny_engine;

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
  for (const auto& options : {engine_options{.slots = 8}, engine_options{.slots = 1},
                              engine_options{.slots = 3, .prefill_rows = 4}, engine_options{.slots = 64}}) {
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
  for (const auto cache : {kv_on_flip::keep, kv_on_flip::recompute}) {
    const auto made = [&](at::Device device) {
      engine e(tiny(7, device), letters(), 4, {.slots = 3, .prefill_rows = 20});
      e.admit(request(2, 5));
      for (int step = 0; step < 8; ++step)
        e.step();
      e.hand_over_weights(tiny(8, device), 5, cache);
      for (int step = 0; step < 5; ++step)
        e.step();
      e.hand_over_weights(tiny(9, device), 6, cache);
      return finish(e).at(2);
    };
    check_close(made(at::kCUDA), made(at::kCPU));
  }
  engine e(tiny(7, at::kCUDA), nullptr, 1, {.slots = 1});
  CHECK_THROWS_AS(e.hand_over_weights(tiny(8), 2), std::invalid_argument); // on another device
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

} // namespace engine_cuda_test
