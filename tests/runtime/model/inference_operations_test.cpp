#include "kernels/packed_matrix.hpp"
#include "kernels/system_memory.hpp"
#include "runtime/model/answer_logprobs.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/model/inference_operations.hpp"
#include "runtime/model/matrix_product.hpp"
#include "runtime/model/packed_sequences.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/words/enum_words.hpp"
#include "tests/runtime/model/random_decoder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>

namespace inference_operations_test {

using namespace millrace;
using model::decoder;
using model::inference_operations;
using model::inference_row;
using model::kv_pool;
using model::kv_sequence;

namespace {

/// One sequence, no cache, ATen only: the decoder as it is written in a textbook.
class plain_operations final : public model::operations {
public:
  at::Tensor embed(const model::linear_weight& table, const at::Tensor& tokens) override {
    return table.weight.index_select(0, tokens);
  }

  void linear(const at::Tensor& x, std::span<const model::linear_weight* const> layers,
              std::span<at::Tensor> y) override {
    for (std::size_t i = 0; i < layers.size(); ++i)
      y[i] = at::linear(x, layers[i]->weight, layers[i]->bias);
  }

  at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) override {
    return x * at::rsqrt((x * x).mean({-1}, true) + eps) * weight;
  }

  at::Tensor add(const at::Tensor& a, const at::Tensor& b) override { return a + b; }

  at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) override { return at::silu(gate) * up; }

  at::Tensor rope(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos,
                  const at::Tensor& sin) override {
    const auto c = at::cat({cos, cos}, -1).index_select(0, positions).unsqueeze(1);
    const auto s = at::cat({sin, sin}, -1).index_select(0, positions).unsqueeze(1);
    const auto half = x.chunk(2, -1);
    return x * c + at::cat({-half[1], half[0]}, -1) * s;
  }

  at::Tensor attention(std::int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override {
    const auto repeat = q.size(1) / k.size(1);
    const auto heads = [&](const at::Tensor& x) { return x.repeat_interleave(repeat, 1).transpose(0, 1); };
    at::Tensor scores = at::matmul(q.transpose(0, 1), heads(k).transpose(1, 2)) / std::sqrt(double(q.size(2)));
    const auto mask = at::ones({q.size(0), q.size(0)}, at::kBool).triu(1);
    scores = scores.masked_fill(mask, -std::numeric_limits<float>::infinity()).softmax(-1);
    return at::matmul(scores, heads(v)).transpose(0, 1).reshape({q.size(0), -1});
  }
};

decoder unpacked(std::string_view family) {
  const auto config = tests::tiny_config(family);
  return decoder(config, tests::random_weights(config, 7, at::kFloat, false));
}

decoder tiny(std::string_view family) {
  decoder d = unpacked(family);
  d.pack();
  return d;
}

std::vector<std::int32_t> some_tokens(std::int64_t count) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<std::int32_t>((i * i + 3 * i + 1) % 40));
  return tokens;
}

at::Tensor cached(const decoder& d, const std::vector<std::int32_t>& tokens, std::int64_t at_once, int threads,
                  sampling_precision kept = sampling_precision::float32) {
  kernels::thread_team team(threads);
  inference_operations ops(team);
  kv_sequence sequence(kv_pool::make(d.config(), d.device(), kept));
  std::vector<at::Tensor> parts;
  for (std::size_t first = 0; first < tokens.size(); first += static_cast<std::size_t>(at_once)) {
    std::vector<inference_row> rows;
    for (auto i = first; i < std::min(tokens.size(), first + static_cast<std::size_t>(at_once)); ++i) {
      sequence.grow(1);
      rows.push_back({tokens[i], &sequence, static_cast<std::int64_t>(i)});
    }
    parts.push_back(ops.forward(d, rows));
  }
  return at::cat(parts);
}

at::Tensor plain(const decoder& d, const std::vector<std::int32_t>& tokens) {
  plain_operations ops;
  const at::Tensor ids = at::tensor(at::ArrayRef<std::int32_t>(tokens)).to(at::kLong);
  return d.hidden(ops, ids, at::arange(ids.size(0), at::kLong));
}

std::shared_ptr<const decoder> tiny_on(std::string_view family, at::Device device) {
  const auto config = tests::tiny_config(family);
  return model::inference_decoder(config, tests::random_weights(config, 7, at::kFloat, false), device);
}

bool no_gpu() {
  if (at::hasCUDA())
    return false;
  MESSAGE("skipped: no CUDA device");
  return true;
}

} // namespace

TEST_CASE("hidden states agree with the textbook's decoder in every family") {
  for (const auto& family : model::families()) {
    const decoder d = tiny(family.name);
    const auto tokens = some_tokens(41);
    CHECK((cached(d, tokens, 41, 1) - plain(unpacked(family.name), tokens)).abs().max().item<double>() < 2e-5);
  }
}

TEST_CASE("a prompt at once, in pieces and token by token has the same bits, whatever the threads") {
  for (const auto& family : model::families()) {
    const decoder d = tiny(family.name);
    const auto tokens = some_tokens(41);
    const at::Tensor whole = cached(d, tokens, 41, 1);
    CHECK(at::equal(whole, cached(d, tokens, 1, 2)));
    CHECK(at::equal(whole, cached(d, tokens, 7, 3)));
  }
}

TEST_CASE("a fork goes on as the sequence it was taken from would have") {
  const decoder d = tiny("llama");
  const auto tokens = some_tokens(40);
  const at::Tensor whole = cached(d, tokens, 40, 1);
  kernels::thread_team team(1);
  inference_operations ops(team);
  const auto pool = kv_pool::make(d.config());
  for (const std::int64_t split : {1, 15, 16, 17, 32}) {
    kv_sequence prompt(pool);
    prompt.grow(split);
    std::vector<inference_row> rows;
    for (std::int64_t i = 0; i < split; ++i)
      rows.push_back({tokens[static_cast<std::size_t>(i)], &prompt, i});
    ops.forward(d, rows);
    auto other = prompt.fork(split);
    other.grow(1);
    const inference_row stray{39, &other, split}; // what a sibling writes must not be seen
    ops.forward(d, {&stray, 1});
    auto mine = prompt.fork(split);
    mine.grow(1);
    const inference_row next{tokens[static_cast<std::size_t>(split)], &mine, split};
    CHECK(at::equal(ops.forward(d, {&next, 1})[0], whole[split]));
  }
}

TEST_CASE("answers' log-probabilities agree with a softmax over the textbook's logits") {
  const decoder d = tiny("qwen3"), rows = unpacked("qwen3");
  const auto prompt = some_tokens(18);
  const std::vector<std::vector<std::int32_t>> answers{{1, 2, 3}, {}, {39}, {5, 5, 5, 5, 0, 7}};
  for (const double temperature : {1.0, 0.7}) {
    const auto got = model::answer_logprobs(d, prompt, answers, temperature, 2);
    REQUIRE(got.size() == 10);
    std::size_t at = 0;
    for (const auto& answer : answers) {
      auto text = prompt;
      text.insert(text.end(), answer.begin(), answer.end());
      const at::Tensor logprobs =
          at::log_softmax(at::linear(plain(rows, text), rows.head().weight).to(at::kDouble) / temperature, -1);
      for (std::size_t i = 0; i < answer.size(); ++i)
        CHECK(std::abs(got[at++] - logprobs[static_cast<std::int64_t>(prompt.size() + i) - 1][answer[i]].item<double>())
              < 2e-5);
    }
  }
}

TEST_CASE("an answer's log-probabilities do not depend on its siblings or on the threads") {
  const decoder d = tiny("llama");
  const auto prompt = some_tokens(17);
  std::vector<std::vector<std::int32_t>> answers(40, std::vector<std::int32_t>(30, 4));
  answers[37] = {9, 8, 7, 6};
  const auto together = model::answer_logprobs(d, prompt, answers, 1, 2);
  const auto alone = model::answer_logprobs(d, prompt, std::span(answers).subspan(37, 1), 1, 1);
  CHECK(std::equal(alone.begin(), alone.end(), together.begin() + 37 * 30));
}

TEST_CASE("what does not fit is refused") {
  const decoder d = tiny("llama");
  const std::vector<std::vector<std::int32_t>> answers{{1}};
  const std::vector<std::int32_t> long_prompt(64, 1), strange{99}, none;
  CHECK_THROWS_AS(model::answer_logprobs(d, long_prompt, answers, 1, 1), std::invalid_argument);
  CHECK_THROWS_AS(model::answer_logprobs(d, strange, answers, 1, 1), std::invalid_argument);
  CHECK_THROWS_AS(model::answer_logprobs(d, none, answers, 1, 1), std::invalid_argument);
}

TEST_CASE("a decoder for inference on the CPU is packed and lets every parameter go") {
  for (const auto& family : model::families())
    for (const auto kept : {precision::float32, precision::bfloat16}) {
      const auto config = tests::tiny_config(family.name);
      const auto parameters = model::in_precision(tests::random_weights(config, 7, at::kFloat, false), kept);
      std::vector<std::weak_ptr<int>> alive;
      model::weights watched;
      for (const auto& [name, tensor] : parameters) {
        const auto owner = std::make_shared<int>();
        alive.push_back(owner);
        watched.push_back({name, at::from_blob(
                                     tensor.data_ptr(), tensor.sizes(), [owner](void*) {}, tensor.options())});
      }
      const auto made = model::inference_decoder(config, std::move(watched), at::kCPU);
      CHECK(made->head().packed);
      CHECK(std::ranges::all_of(alive, [](const auto& tensor) { return tensor.expired(); }));
    }
}

TEST_CASE("bfloat16 weights give the bits of a model of the same numbers in fp32, in every family") {
  for (const auto& family : model::families()) {
    const auto config = tests::tiny_config(family.name);
    const auto half = model::in_precision(tests::random_weights(config, 7, at::kFloat, false), precision::bfloat16);
    const auto narrow = model::inference_decoder(config, half, at::kCPU);
    const auto wide = model::inference_decoder(config, model::in_precision(half, precision::float32), at::kCPU);
    CHECK(narrow->head().packed->stored_as() == kernels::storage::bfloat16);
    const auto tokens = some_tokens(41);
    CHECK(at::equal(cached(*narrow, tokens, 7, 2), cached(*wide, tokens, 41, 1)));
    CHECK_FALSE(at::equal(cached(*wide, tokens, 41, 1), cached(tiny(family.name), tokens, 41, 1)));
    const at::NoGradGuard no_grad;
    model::training_operations differentiable(model::pack_sequence(at::arange(41)).groups), again = differentiable;
    const auto hidden = [&](const model::weights& weights, model::training_operations& ops) {
      const at::Tensor ids = at::tensor(at::ArrayRef<std::int32_t>(tokens)).to(at::kLong);
      return decoder(config, model::placed_on(weights, at::kCPU)).hidden(ops, ids, at::arange(41));
    };
    CHECK(at::equal(hidden(half, differentiable), hidden(model::in_precision(half, precision::float32), again)));
  }
}

TEST_CASE("a decoder that is laid out over an older one's memory, by several threads, has the bits of a fresh one") {
  for (const auto kept : {sampling_precision::float32, sampling_precision::bfloat16, sampling_precision::int8}) {
    const auto config = tests::tiny_config("llama");
    const auto exact = tests::random_weights(config, 7, at::kFloat, false);
    const auto fresh = model::inference_decoder(config, exact, at::kCPU, kept);
    kernels::spare_memory spare;
    std::byte* where = nullptr;
    {
      const auto older = model::inference_decoder(config, tests::random_weights(config, 8, at::kFloat, false), at::kCPU,
                                                  kept, {.spare = &spare});
      const auto& head = *older->head().packed;
      where = const_cast<std::byte*>(head.panel<std::byte>(0));
      std::memset(where, 0xff, kernels::packed_matrix::bytes_of(head.out(), head.in(), head.stored_as())); // NaN
    }
    const auto again = model::inference_decoder(config, exact, at::kCPU, kept, {.spare = &spare, .threads = 3});
    CHECK(again->head().packed->panel<std::byte>(0) == where);
    const auto tokens = some_tokens(41);
    CHECK(at::equal(cached(*again, tokens, 41, 1), cached(*fresh, tokens, 41, 1)));
  }
}

TEST_CASE("int8 weights: one set of bits whatever the batching and threads, near a model of the same numbers in fp32") {
  for (const auto& family : model::families()) {
    const auto config = tests::tiny_config(family.name);
    const auto exact = tests::random_weights(config, 7, at::kFloat, false);
    const auto narrow = model::inference_decoder(config, exact, at::kCPU, sampling_precision::int8);
    CHECK(narrow->head().packed->stored_as() == kernels::storage::int8);
    const auto tokens = some_tokens(41);
    const at::Tensor whole = cached(*narrow, tokens, 41, 1);
    CHECK(at::equal(whole, cached(*narrow, tokens, 1, 2)));
    CHECK(at::equal(whole, cached(*narrow, tokens, 7, 3)));
    model::weights rounded;
    for (const auto& [name, tensor] : exact) {
      rounded.push_back({name, tensor});
      if (tensor.dim() != 2)
        continue;
      const auto stored =
          kernels::packed_matrix::as_int8(tensor.const_data_ptr<float>(), tensor.size(0), tensor.size(1));
      rounded.back().tensor = at::empty_like(tensor);
      for (std::int64_t row = 0; row < tensor.size(0); ++row)
        stored.copy_row(row, rounded.back().tensor.data_ptr<float>() + row * tensor.size(1));
    }
    // Inputs of 16 bits are off by 2^-16 of the largest at most: hidden states near 1 by some 1e-4 after two layers.
    const at::Tensor same = cached(*model::inference_decoder(config, rounded, at::kCPU), tokens, 41, 1);
    CHECK((whole - same).abs().max().item<double>() < 1e-3);
    CHECK((whole - cached(tiny(family.name), tokens, 41, 1)).abs().max().item<double>() > 5e-3);
  }
}

TEST_CASE("matrices in fp32 may be laid out in bfloat16, with the bits of what is rounded before") {
  const auto config = tests::tiny_config("llama");
  const auto exact = tests::random_weights(config, 7, at::kFloat, false);
  auto rounded = exact;
  for (auto& [name, tensor] : rounded)
    if (tensor.dim() == 2)
      tensor = tensor.to(at::kBFloat16);
  const auto later = model::inference_decoder(config, exact, at::kCPU, sampling_precision::bfloat16);
  const auto before = model::inference_decoder(config, rounded, at::kCPU);
  CHECK(later->head().packed->stored_as() == kernels::storage::bfloat16);
  CHECK(at::equal(cached(*later, some_tokens(9), 9, 1), cached(*before, some_tokens(9), 9, 1)));
}

TEST_CASE("a matrix that int8 moves too far, or that is too large for it, is named") {
  const auto config = tests::tiny_config("llama");
  const auto refused = [&](double scale, const std::string& want) {
    auto weights = tests::random_weights(config, 7, at::kFloat, false);
    const std::string name = "model.layers.1.mlp.up_proj.weight";
    const auto one = std::ranges::find(weights, name, &model::named_tensor::name);
    REQUIRE(one != weights.end());
    one->tensor = one->tensor * scale;
    CHECK_NOTHROW(model::inference_decoder(config, weights, at::kCPU));
    std::string message;
    try {
      model::inference_decoder(config, weights, at::kCPU, sampling_precision::int8);
    } catch (const input_error& error) {
      message = error.what();
    }
    CHECK(message.starts_with("parameter '" + name + "': " + want));
  };
  refused(1e-6, "int8 moves it by "); // steps of 2^-24 at least, as large as the numbers
  refused(1e9, "packed_matrix: a weight is not finite or too large for int8");
}

namespace {

/// A narrow cache gives one set of bits, whatever the batching, forks and threads. @returns its hidden states
at::Tensor narrow_cache_bits(const decoder& d, const std::vector<std::int32_t>& tokens, sampling_precision kept) {
  at::Tensor whole = cached(d, tokens, 41, 1, kept);
  CHECK(at::equal(whole, cached(d, tokens, 1, 2, kept)));
  CHECK(at::equal(whole, cached(d, tokens, 7, 3, kept)));
  kernels::thread_team team(1);
  inference_operations ops(team);
  kv_sequence prompt(kv_pool::make(d.config(), at::kCPU, kept));
  const auto rows_of = [&](kv_sequence& sequence, std::int64_t first, std::int64_t last) {
    std::vector<inference_row> rows;
    for (auto i = first; i < last; ++i)
      rows.push_back({tokens[static_cast<std::size_t>(i)], &sequence, i});
    return rows;
  };
  prompt.grow(33);
  ops.forward(d, rows_of(prompt, 0, 33));
  for (const std::int64_t shared : {16, 33}) {
    kv_sequence fork = prompt.fork(shared);
    fork.grow(41 - shared);
    CHECK(at::equal(ops.forward(d, rows_of(fork, shared, 41)), whole.slice(0, shared, 41)));
  }
  return whole;
}

} // namespace

TEST_CASE("a bfloat16 or int8 cache: one set of bits whatever the batching, forks and threads, near fp32's") {
  const decoder d = tiny("llama");
  const auto tokens = some_tokens(41);
  const at::Tensor exact = cached(d, tokens, 41, 1);
  // Keys and values are off by 2^-9 of their size in bfloat16, by half of 1/127 of a head's largest in int8: hidden
  // states near 1 by a few hundredths.
  for (const auto kept : {sampling_precision::bfloat16, sampling_precision::int8}) {
    CAPTURE(word(kept));
    const at::Tensor narrow = narrow_cache_bits(d, tokens, kept);
    CHECK_FALSE(at::equal(narrow, exact));
    CHECK((narrow - exact).abs().max().item<double>() < 0.05);
  }
}

TEST_CASE("sampling takes rows several times and in any order, each draw with its own rule") {
  kernels::thread_team team(1);
  inference_operations ops(team);
  const at::Tensor logits = at::tensor({0.0f, 9.0f, 0.0f, 9.0f, 0.0f, 0.0f}).view({2, 3});
  const auto drawn = ops.sample(
      logits, std::vector<model::draw>{{1, {.temperature = 0}, 0}, {0, {.top_k = 1}, 0.5}, {1, {}, 0.99999}});
  REQUIRE(drawn.size() == 3);
  CHECK(drawn[0].token == 0);
  CHECK(drawn[1].token == 1);
  CHECK(drawn[2].token == 2);
  CHECK(ops.logprobs(logits, std::vector<std::int32_t>{1, 0}, 1)
        == std::vector<float>{drawn[1].logprob, drawn[0].logprob});
}

TEST_CASE("products of floats on CUDA are not rounded to TF32") {
  if (no_gpu())
    return;
  CHECK_FALSE(at::globalContext().allowTF32CuBLAS());
  const at::Tensor a = at::randn({37, 576}), b = at::randn({129, 576});
  const at::Tensor want = at::mm(a.to(at::kDouble), b.to(at::kDouble).t());
  const at::Tensor got = model::product_transposed(a.to(at::kCUDA), b.to(at::kCUDA)).cpu();
  CHECK(((got - want).norm() / want.norm()).item<double>() < 1e-6); // TF32: 3e-4
}

TEST_CASE("hidden states on CUDA are the CPU's to rounding: a prompt at once, in pieces and token by token") {
  if (no_gpu())
    return;
  const auto tokens = some_tokens(41);
  for (const auto& family : model::families()) {
    const auto want = cached(*tiny_on(family.name, at::kCPU), tokens, 41, 1);
    const auto gpu = tiny_on(family.name, at::kCUDA);
    for (const std::int64_t at_once : {41, 7, 1})
      CHECK((cached(*gpu, tokens, at_once, 1).cpu() - want).abs().max().item<double>() < 2e-5);
  }
}

TEST_CASE("a fork on CUDA goes on as the sequence it was taken from would have, beside others of other lengths") {
  if (no_gpu())
    return;
  const auto d = tiny_on("llama", at::kCUDA);
  const auto tokens = some_tokens(40);
  const at::Tensor whole = cached(*d, tokens, 40, 1).cpu();
  kernels::thread_team team(1);
  inference_operations ops(team);
  const auto pool = kv_pool::make(d->config(), at::kCUDA);
  kv_sequence prompt(pool);
  prompt.grow(33);
  std::vector<inference_row> rows;
  for (std::int64_t i = 0; i < 33; ++i)
    rows.push_back({tokens[static_cast<std::size_t>(i)], &prompt, i});
  ops.forward(*d, rows);
  std::vector<kv_sequence> forks;
  for (const std::int64_t split : {1, 15, 16, 17, 32, 33}) {
    forks.push_back(prompt.fork(split));
    forks.push_back(prompt.fork(split));
  }
  rows.clear();
  for (std::size_t f = 0; f < forks.size(); ++f) {
    const std::int64_t split = forks[f].length();
    forks[f].grow(1);
    rows.push_back({f % 2 ? tokens[static_cast<std::size_t>(split)] : 39, &forks[f],
                    split}); // what a sibling writes must not be seen
  }
  const at::Tensor next = ops.forward(*d, rows).cpu();
  for (std::size_t f = 1; f < forks.size(); f += 2)
    CHECK((next[static_cast<std::int64_t>(f)] - whole[rows[f].position]).abs().max().item<double>() < 1e-5);
}

TEST_CASE("answers' log-probabilities on CUDA are the CPU's within 1e-4") {
  if (no_gpu())
    return;
  const auto prompt = some_tokens(17);
  std::vector<std::vector<std::int32_t>> answers(40, std::vector<std::int32_t>(30, 4)); // several passes
  answers[3] = {};
  answers[37] = {9, 8, 7, 6};
  for (const auto& family : model::families())
    for (const double temperature : {1.0, 0.7}) {
      const auto want = model::answer_logprobs(*tiny_on(family.name, at::kCPU), prompt, answers, temperature, 1);
      const auto got = model::answer_logprobs(*tiny_on(family.name, at::kCUDA), prompt, answers, temperature, 1);
      REQUIRE(got.size() == want.size());
      double most = 0;
      for (std::size_t i = 0; i < got.size(); ++i)
        most = std::max(most, std::isnan(got[i]) ? INFINITY : std::abs(double{got[i]} - want[i]));
      CHECK(most < 1e-4);
    }
}

TEST_CASE("sampling on CUDA draws what the CPU draws") {
  if (no_gpu())
    return;
  kernels::thread_team team(1);
  inference_operations ops(team);
  at::manual_seed(3);
  const at::Tensor logits = 3 * at::randn({6, 1000});
  std::vector<model::draw> draws;
  for (std::int64_t i = 0; i < 60; ++i)
    draws.push_back(
        {i % 6,
         {.temperature = i % 5 == 0 ? 0.0f : 0.8f, .top_k = i % 3 == 0 ? 20 : 0, .top_p = i % 4 == 0 ? 0.9f : 1.0f},
         (static_cast<double>(i) + 0.5) / 60});
  const auto want = ops.sample(logits, draws), got = ops.sample(logits.to(at::kCUDA), draws);
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CHECK(got[i].token == want[i].token);
    CHECK(std::abs(got[i].logprob - want[i].logprob) < 1e-5);
  }
}

TEST_CASE("weights laid out on CUDA while another decoder computes change nothing of it, and are freed after it") {
  if (no_gpu())
    return;
  const auto tokens = some_tokens(41);
  auto first = tiny_on("qwen3", at::kCUDA);
  const at::Tensor want = cached(*first, tokens, 1, 1).cpu();
  for (int round = 0; round < 20; ++round) {
    const at::Tensor hidden = cached(*first, tokens, 1, 1);
    first = tiny_on("qwen3",
                    at::kCUDA); // the same weights in other memory; the old are freed behind what reads them
    const auto other = tiny_on("qwen3", at::kCUDA);
    CHECK(at::equal(hidden.cpu(), want));
  }
}

} // namespace inference_operations_test
