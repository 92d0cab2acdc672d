#include "kernels/cached_attention.hpp"
#include "kernels/counter_random.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/rope.hpp"
#include "kernels/sample_token.hpp"
#include "kernels/swiglu.hpp"
#include "kernels/thread_team.hpp"
#include "kernels/token_logprob.hpp"
#include "tests/kernels/random_floats.hpp"

#include <doctest/doctest.h>

#ifndef MILLRACE_CUDA

TEST_CASE("kernels on CUDA agree with their references") {
  MESSAGE("skipped: built without MILLRACE_CUDA");
}

#else

#include "tests/kernels/device_buffer.hpp"

#include <algorithm>
#include <cmath>

namespace cuda_test {

using namespace millrace::kernels;
using millrace::test::device_buffer;
using millrace::test::random_floats;

namespace {

bool no_device() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0)
    return false;
  MESSAGE("skipped: no CUDA device");
  return true;
}

double worst(const std::vector<float>& got, const std::vector<float>& want) {
  double most = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    most = std::max(most, std::abs(static_cast<double>(got[i]) - want[i]) / (1 + std::abs(want[i])));
  return most;
}

// fp32 sums of a few hundred terms near 1 against sums in double.
constexpr double tolerance = 1e-5;

/// One sequence's cache on the device with every place that nobody wrote poisoned, and rows of it.
class device_cache {
public:
  device_cache(std::int64_t tokens, std::int64_t block_floats)
      : block_floats_(block_floats), blocks_((tokens + cache_block_tokens - 1) / cache_block_tokens),
        memory_(std::vector<float>(static_cast<std::size_t>(blocks_ * block_floats), NAN)),
        starts_(starts_in(memory_.get())) {}

  /// Places of positions [first, last).
  std::vector<cache_place> places(std::int64_t first, std::int64_t last) const {
    std::vector<cache_place> all;
    for (std::int64_t position = first; position < last; ++position)
      all.push_back({starts_.get(), position});
    return all;
  }

  /// A copy on the host, and its blocks.
  std::vector<float> to_host() const { return memory_.to_host(); }

  std::vector<void*> starts_in(float* memory) const {
    std::vector<void*> starts;
    for (std::int64_t b = 0; b < blocks_; ++b)
      starts.push_back(memory + b * block_floats_);
    return starts;
  }

private:
  std::int64_t block_floats_, blocks_;
  device_buffer<float> memory_;
  device_buffer<void*> starts_;
};

} // namespace

TEST_CASE("rms_norm on CUDA agrees with its reference") {
  if (no_device())
    return;
  for (const std::int64_t width : {1, 31, 257, 576}) {
    const auto x = random_floats(17 * width, 1), weight = random_floats(width, 2);
    std::vector<float> want(x.size());
    rms_norm_reference(
        {.x = x.data(), .weight = weight.data(), .y = want.data(), .rows = 17, .width = width, .eps = 1e-5f});
    const device_buffer dx{x}, dw{weight}, dy{want};
    rms_norm_cuda({.x = dx.get(), .weight = dw.get(), .y = dy.get(), .rows = 17, .width = width, .eps = 1e-5f},
                  nullptr);
    CHECK(worst(dy.to_host(), want) < tolerance);
  }
}

TEST_CASE("rope on CUDA agrees with its reference") {
  if (no_device())
    return;
  auto want = random_floats(5 * 3 * 64, 3);
  const auto cos = random_floats(20 * 32, 4), sin = random_floats(20 * 32, 5);
  const std::vector<std::int64_t> at{0, 19, 3, 3, 7};
  const device_buffer dx{want}, dc{cos}, ds{sin};
  const device_buffer<std::int64_t> da{at};
  rope_reference({.x = want.data(),
                  .positions = at.data(),
                  .cos = cos.data(),
                  .sin = sin.data(),
                  .rows = 5,
                  .heads = 3,
                  .head_dim = 64});
  rope_cuda(
      {.x = dx.get(), .positions = da.get(), .cos = dc.get(), .sin = ds.get(), .rows = 5, .heads = 3, .head_dim = 64},
      nullptr);
  CHECK(worst(dx.to_host(), want) < tolerance);
}

TEST_CASE("swiglu on CUDA agrees with its reference") {
  if (no_device())
    return;
  const auto gate = random_floats(5000, 6, 4.0f), up = random_floats(5000, 7);
  std::vector<float> want(gate.size());
  swiglu_reference({.gate = gate.data(), .up = up.data(), .y = want.data(), .count = 5000});
  const device_buffer dg{gate}, du{up}, dy{want};
  swiglu_cuda({.gate = dg.get(), .up = du.get(), .y = dy.get(), .count = 5000}, nullptr);
  CHECK(worst(dy.to_host(), want) < tolerance);
}

TEST_CASE(
    "cached_attention on CUDA agrees with its reference for every shape of heads, and bit for bit with a row alone") {
  if (no_device())
    return;

  struct shape {
    std::int64_t heads, kv_heads, dim, tokens;
  };

  // Heads that share keys: 1 to 8 at once and more; numbers of a head: parts of a warp, 64, 128, more than one slice.
  for (const auto& [heads, kv_heads, dim, tokens] :
       {shape{9, 3, 64, 50}, shape{4, 4, 16, 33}, shape{14, 2, 64, 16}, shape{2, 1, 7, 17}, shape{8, 1, 80, 70},
        shape{32, 2, 128, 300}, shape{11, 1, 64, 40}, shape{5, 1, 256, 20}, shape{12, 2, 300, 35},
        shape{10, 2, 128, 1}}) {
    CAPTURE(heads);
    CAPTURE(dim);
    const std::int64_t layer = cache_layer_numbers(kv_heads, dim);
    const device_cache cache(tokens, 2 * layer);
    const auto q = random_floats(tokens * heads * dim, 1), k = random_floats(tokens * kv_heads * dim, 2),
               v = random_floats(tokens * kv_heads * dim, 3);
    const device_buffer dq{q}, dk{k}, dv{v}, dy{std::vector<float>(q.size(), NAN)};
    const device_buffer<cache_place> at{cache.places(0, tokens)}, last{cache.places(tokens - 1, tokens)};
    const cached_attention_args args{.q = dq.get(),
                                     .places = at.get(),
                                     .y = dy.get(),
                                     .rows = tokens,
                                     .heads = heads,
                                     .kv_heads = kv_heads,
                                     .head_dim = dim,
                                     .layer_offset = layer};
    append_to_cache_cuda(args, dk.get(), dv.get(), nullptr);
    cached_attention_cuda(args, nullptr);
    const auto got = dy.to_host();

    auto memory = cache.to_host();
    const auto starts = cache.starts_in(memory.data());
    std::vector<cache_place> places;
    for (std::int64_t t = 0; t < tokens; ++t)
      places.push_back({starts.data(), t});
    std::vector<float> want(q.size());
    cached_attention_reference({.q = q.data(),
                                .places = places.data(),
                                .y = want.data(),
                                .rows = tokens,
                                .heads = heads,
                                .kv_heads = kv_heads,
                                .head_dim = dim,
                                .layer_offset = layer});
    double most = 0;
    for (std::size_t i = 0; i < got.size(); ++i)
      most = std::max(most, std::isnan(got[i]) ? INFINITY : std::abs(static_cast<double>(got[i]) - want[i]));
    CHECK(most < 5e-6);                       // means of values near 1
    for (std::int64_t t = 0; t < tokens; ++t) // the cache holds what was written, as the CPU's lays it out
      CHECK(static_cast<float*>(
                starts[static_cast<std::size_t>(t / 16)])[layer + ((kv_heads + kv_heads - 1) * 16 + t % 16) * dim]
            == v[static_cast<std::size_t>((t * kv_heads + kv_heads - 1) * dim)]);

    const device_buffer<float> alone{std::vector<float>(static_cast<std::size_t>(heads * dim), NAN)};
    cached_attention_cuda(
        {dq.get() + (tokens - 1) * heads * dim, last.get(), alone.get(), 1, heads, kv_heads, dim, layer}, nullptr);
    const auto row = alone.to_host();
    CHECK(std::equal(row.begin(), row.end(), got.end() - heads * dim));
  }
}

namespace {

/// The rows of one call of sample_token, on the host: five for each rule.
struct sampling_rows {
  static constexpr std::int64_t of_rule = 5;
  static constexpr std::int64_t of_highest_uniform = 3; ///< the row of each rule whose uniform number is just below 1

  std::int64_t vocab;
  std::vector<std::vector<float>> logits;
  std::vector<sampling_rule> rules; ///< one a row
  std::vector<double> uniforms;     ///< one a row

  std::int64_t count() const { return static_cast<std::int64_t>(logits.size()); }
};

enum class likelihoods { differ, many_are_equal };

sampling_rows rows_to_sample(std::int64_t vocab, likelihoods how) {
  const sampling_rule rules[] = {{},
                                 {.temperature = 0},
                                 {.temperature = 0.7f},
                                 {.top_k = 1},
                                 {.top_k = 50},
                                 {.top_p = 0.9f},
                                 {.temperature = 1.5f, .top_p = 0.99f},
                                 {.min_p = 0.02f},
                                 {.top_k = 7, .min_p = 0.5f},
                                 {.temperature = 2, .top_k = 1000, .top_p = 0.8f, .min_p = 0.1f}};
  sampling_rows rows{.vocab = vocab, .logits = {}, .rules = {}, .uniforms = {}};
  for (const auto& rule : rules)
    for (std::int64_t r = 0; r < sampling_rows::of_rule; ++r) {
      auto row = random_floats(vocab, static_cast<unsigned>(r), 3.0f);
      for (auto& x : row)
        x = how == likelihoods::many_are_equal ? std::round(x) : x;
      if (r == 1)
        for (std::int64_t v = 0; v + 1 < vocab; v += 3)
          row[static_cast<std::size_t>(v)] = -INFINITY;
      rows.logits.push_back(row);
      rows.rules.push_back(rule);
      rows.uniforms.push_back(r == 2 ? 0.0
                              : r == sampling_rows::of_highest_uniform
                                  ? std::nextafter(1.0, 0.0)
                                  : uniform(9, static_cast<std::uint64_t>(vocab), static_cast<std::uint64_t>(r)));
    }
  return rows;
}

struct sampled_words {
  std::vector<std::int32_t> tokens;
  std::vector<float> logprobs;
};

sampled_words sampled_on_device(const sampling_rows& rows) {
  std::vector<float> flat;
  for (const auto& row : rows.logits)
    flat.insert(flat.end(), row.begin(), row.end());
  const device_buffer dl{flat};
  std::vector<const float*> device;
  for (std::int64_t r = 0; r < rows.count(); ++r)
    device.push_back(dl.get() + r * rows.vocab);
  const device_buffer<const float*> dr{device};
  const device_buffer<sampling_rule> du{rows.rules};
  const device_buffer<double> dd{rows.uniforms};
  const device_buffer<std::int32_t> dt{std::vector<std::int32_t>(rows.logits.size(), -1)};
  const device_buffer<float> dp{std::vector<float>(rows.logits.size(), NAN)};
  sample_token_cuda({.logits = dr.get(),
                     .rules = du.get(),
                     .uniform = dd.get(),
                     .token = dt.get(),
                     .logprob = dp.get(),
                     .rows = rows.count(),
                     .vocab = rows.vocab},
                    nullptr);
  return {dt.to_host(), dp.to_host()};
}

/// Where a filter leaves every word, the words' order decides: the CPU's kernel says which.
sampled_words sampled_on_cpu(const sampling_rows& rows) {
  std::vector<const float*> host;
  for (const auto& row : rows.logits)
    host.push_back(row.data());
  thread_team team(1);
  sampled_words words{std::vector<std::int32_t>(rows.logits.size()), std::vector<float>(rows.logits.size())};
  sample_token({.logits = host.data(),
                .rules = rows.rules.data(),
                .uniform = rows.uniforms.data(),
                .token = words.tokens.data(),
                .logprob = words.logprobs.data(),
                .rows = rows.count(),
                .vocab = rows.vocab},
               team);
  return words;
}

} // namespace

TEST_CASE("sample_token on CUDA draws the reference's words, with their log-probabilities") {
  if (no_device())
    return;
  for (const std::int64_t vocab : {1, 2, 31, 33, 511, 512, 513, 4097, 50257})
    for (const auto how : {likelihoods::differ, likelihoods::many_are_equal}) {
      CAPTURE(vocab);
      CAPTURE(static_cast<int>(how));
      const auto rows = rows_to_sample(vocab, how);
      const auto [tokens, logprobs] = sampled_on_device(rows);
      const auto want = sampled_on_cpu(rows);
      for (std::size_t r = 0; r < rows.logits.size(); ++r) {
        CAPTURE(r);
        // uniform just below 1: rounding of the last sum decides between words of next to no weight.
        if (r % sampling_rows::of_rule == sampling_rows::of_highest_uniform && tokens[r] != want.tokens[r])
          CHECK(std::exp(logprobs[r]) < 1e-4);
        else
          CHECK(tokens[r] == want.tokens[r]);
        std::int32_t token = tokens[r];
        float again = 0;
        const float temperature = rows.rules[r].temperature > 0 ? rows.rules[r].temperature : 1;
        token_logprob_reference({.logits = rows.logits[r].data(),
                                 .targets = &token,
                                 .logprob = &again,
                                 .tokens = 1,
                                 .vocab = vocab,
                                 .temperature = temperature});
        CHECK(std::abs(logprobs[r] - again) < 1e-5);
      }
    }
}

TEST_CASE("token_logprob on CUDA agrees with its reference, masked words too") {
  if (no_device())
    return;
  for (const std::int64_t vocab : {1, 31, 32, 33, 257, 50257}) {
    auto logits = random_floats(9 * vocab, 8, 10.0f);
    std::vector<std::int32_t> targets;
    for (std::int64_t t = 0; t < 9; ++t)
      targets.push_back(t == 4 ? ignore_token : static_cast<std::int32_t>((t * 977) % vocab));
    for (std::int64_t v = 1; v < vocab; v += 3)
      if (v != targets[3])
        logits[static_cast<std::size_t>(3 * vocab + v)] = -INFINITY;
    std::vector<float> want(9);
    token_logprob_reference({.logits = logits.data(),
                             .targets = targets.data(),
                             .logprob = want.data(),
                             .tokens = 9,
                             .vocab = vocab,
                             .temperature = 0.7f});
    const device_buffer dl{logits}, dy{want};
    const device_buffer<std::int32_t> dt{targets};
    token_logprob_cuda({.logits = dl.get(),
                        .targets = dt.get(),
                        .logprob = dy.get(),
                        .tokens = 9,
                        .vocab = vocab,
                        .temperature = 0.7f},
                       nullptr);
    CHECK(worst(dy.to_host(), want) < tolerance);
  }
}

} // namespace cuda_test

#endif
