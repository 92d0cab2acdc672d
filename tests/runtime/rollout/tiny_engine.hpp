#pragma once

#include "runtime/model/answer_logprobs.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/model/inference_operations.hpp"
#include "runtime/rollout/engine.hpp"
#include "tests/runtime/model/random_decoder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <memory>
#include <vector>

// What the tests of the engine share: a tiny policy, its requests, and comparisons of what comes out.
namespace millrace::tests::tiny_engine {

using rollout::answer;
using rollout::engine;
using rollout::engine_options;
using rollout::finish_reason;
using rollout::finished_group;
using rollout::group_request;
using rollout::partial_group;

inline std::shared_ptr<const model::decoder> tiny(std::uint64_t seed = 7, at::Device device = at::kCPU) {
  const auto config = tiny_config("llama");
  return model::inference_decoder(config, random_weights(config, seed, at::kFloat, false), device);
}

/// 40 tokens of one letter each: a b c ... z A B ... N.
inline std::shared_ptr<const text::tokenizer> letters() {
  text::tokenizer_data data;
  data.origin = "letters";
  for (int i = 0; i < 40; ++i)
    data.vocabulary.push_back(std::string(1, static_cast<char>(i < 26 ? 'a' + i : 'A' + i - 26)));
  text::pre_tokenizer_step bytes;
  bytes.what = text::pre_tokenizer_step::kind::byte_level;
  bytes.use_regex = false;
  data.pre_tokenizer.push_back(bytes);
  return std::make_shared<text::tokenizer>(data);
}

inline group_request request(std::uint64_t group, std::int32_t answers, std::int64_t max_new_tokens = 20) {
  group_request r{.group = group, .prompt = {}, .answers = answers, .seed = 1000 + group, .how = {}};
  for (std::uint64_t i = 0; i < 5 + 6 * group; ++i)
    r.prompt.push_back(static_cast<std::int32_t>((i * 7 + group) % 40));
  r.how.max_new_tokens = max_new_tokens;
  return r;
}

inline std::map<std::uint64_t, finished_group> finish(engine& e) {
  std::map<std::uint64_t, finished_group> all;
  for (int steps = 0; !e.idle(); ++steps) {
    REQUIRE(steps < 1000);
    for (auto& g : e.step())
      all.emplace(g.group, std::move(g));
  }
  return all;
}

inline bool same(const answer& a, const answer& b) {
  return a.tokens == b.tokens && a.logprob == b.logprob && a.finish == b.finish && a.text == b.text;
}

inline void check_same(const finished_group& a, const finished_group& b) {
  REQUIRE(a.answers.size() == b.answers.size());
  for (std::size_t i = 0; i < a.answers.size(); ++i) {
    CAPTURE(i);
    CHECK(same(a.answers[i], b.answers[i]));
  }
}

inline bool no_gpu() {
  if (at::hasCUDA())
    return false;
  MESSAGE("skipped: no CUDA device");
  return true;
}

/// The same answers by another order of adding.
inline void check_close(const finished_group& a, const finished_group& b) {
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
inline std::vector<float> scores(const model::decoder& policy, const group_request& r, const answer& a) {
  return model::answer_logprobs(policy, r.prompt, {&a.tokens, 1}, r.how.temperature, 1);
}

/// The same, where keys and values of what was drawn before token `flip` are the old version's: one row after another.
inline std::vector<float> scores_of_mixed_cache(const model::decoder& before, const model::decoder& after,
                                                const group_request& r, const answer& a, std::size_t flip) {
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
      found.push_back(
          at::log_softmax(operations.logits(policy, hidden, {&first, 1})[0], 0)[text[at + 1]].item<float>());
  }
  return found;
}

inline double largest_gap(const std::vector<float>& a, const std::vector<float>& b, std::size_t from = 0) {
  REQUIRE(a.size() == b.size());
  double gap = 0;
  for (std::size_t i = from; i < a.size(); ++i)
    gap = std::max(gap, std::abs(double{a[i]} - b[i]));
  return gap;
}

} // namespace millrace::tests::tiny_engine
