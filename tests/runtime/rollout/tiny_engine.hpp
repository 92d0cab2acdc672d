#pragma once

#include "runtime/model/answer_logprobs.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/model/inference_operations.hpp"
#include "runtime/rollout/engine.hpp"
#include "tests/runtime/model/random_decoder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
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

inline bool is_sampled(const answer& a, std::size_t token) {
  const auto at = static_cast<std::int32_t>(token);
  return a.turns.empty() || std::ranges::any_of(a.turns, [&](const auto& t) { return t.begin <= at && at < t.end; });
}

using policies = std::map<std::uint32_t, std::shared_ptr<const model::decoder>>;

/// Log-probabilities of an answer's sampled tokens, each under its stamped version, and 0 for the others. Keys and
/// values are of the version that computed them: they stay over a flip, except where the answer says `recomputed`.
/// @param read per turn: the version that read its last token; empty: the one that read the next token
inline std::vector<float> scores_as_stamped(const policies& by_version, const group_request& r, const answer& a,
                                            const std::vector<std::uint32_t>& read = {}) {
  kernels::thread_team team(1);
  model::inference_operations operations(team);
  const auto pool = model::kv_pool::make(by_version.begin()->second->config());
  model::kv_sequence sequence(pool);
  const auto segments = segment_begins(a);
  std::int64_t begin = -std::ssize(r.prompt); // of the sequence, counted in the answer
  std::vector<float> found;
  for (std::size_t t = 0; t < a.tokens.size(); ++t) {
    if (std::ranges::count(segments, static_cast<std::int32_t>(t)) > 0) { // nothing predicts its first token
      begin = static_cast<std::int64_t>(t);
      sequence = model::kv_sequence(pool);
      found.push_back(0);
      continue;
    }
    if (std::ranges::count(a.recomputed, static_cast<std::int32_t>(t)) > 0)
      sequence = model::kv_sequence(pool);
    const bool sampled = is_sampled(a, t), behind_turn = !sampled && is_sampled(a, t - 1);
    auto version = a.version[sampled || behind_turn ? t : t - 1];
    for (std::size_t k = 0; behind_turn && k < read.size(); ++k)
      if (a.turns[k].end == static_cast<std::int32_t>(t))
        version = read[k];
    std::vector<model::inference_row> rows;
    const std::int64_t first = sequence.length(), end = static_cast<std::int64_t>(t) - begin;
    sequence.grow(end - first);
    for (auto at = first; at < end; ++at)
      rows.push_back(
          {at + begin < 0 ? r.prompt[static_cast<std::size_t>(at)] : a.tokens[static_cast<std::size_t>(at + begin)],
           &sequence, at});
    const at::Tensor hidden = operations.forward(*by_version.at(version), rows);
    const std::int64_t last = std::ssize(rows) - 1;
    found.push_back(0);
    if (sampled)
      found.back() = at::log_softmax(operations.logits(*by_version.at(version), hidden, {&last, 1})[0]
                                         / (r.how.temperature > 0 ? r.how.temperature : 1),
                                     0)[a.tokens[t]]
                         .item<float>();
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
