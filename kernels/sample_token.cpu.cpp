#include "kernels/sample_token.hpp"

#include "kernels/softmax_row.hpp"
#include "kernels/thread_team.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace millrace::kernels {
namespace {

void check(const sample_token_args& a) {
  if (a.rows < 0 || a.vocab < 1)
    throw std::invalid_argument("sample_token: need rows >= 0, vocab >= 1");
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const auto& rule = a.rules[r];
    if (!(rule.temperature >= 0) || rule.top_k < 0 || !(rule.top_p > 0 && rule.top_p <= 1)
        || !(rule.min_p >= 0 && rule.min_p <= 1))
      throw std::invalid_argument("sample_token: need temperature >= 0, top_k >= 0, top_p in (0, 1], min_p in [0, 1]");
  }
}

struct candidate {
  float logit;
  std::int32_t token;
};

bool likelier(const candidate& a, const candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

/// A row's distribution: weight of a word = exp((logit - peak) * inverse).
struct distribution {
  const float* logits;
  std::int64_t vocab;
  float peak, inverse;
  double total;
};

/// Walks the words in their order; whole blocks first.
template <int width>
MILLRACE_INLINE std::int32_t draw_from_all(const distribution& d, double uniform) {
  thread_local std::vector<double> blocks;
  blocks.clear();
  double total = 0;
  for (std::int64_t i = 0; i < d.vocab; i += softmax_block) {
    blocks.push_back(block_weight<width>(d.logits + i, std::min(softmax_block, d.vocab - i), d.peak, d.inverse));
    total += blocks.back();
  }
  double left = uniform * total;
  std::size_t block = 0;
  // The last block with any weight is where rounding at the far end must stop.
  std::size_t last = blocks.size() - 1;
  while (last > 0 && blocks[last] == 0)
    --last;
  for (; block < last && left >= blocks[block]; ++block)
    left -= blocks[block];
  const std::int64_t from = static_cast<std::int64_t>(block) * softmax_block;
  const std::int64_t count = std::min(softmax_block, d.vocab - from);
  float weights[softmax_block];
  for (std::int64_t i = 0; i < count; i += 16)
    weight_of(words<width>(d.logits + from + i, count - i), d.peak, d.inverse).store(weights + i);
  std::int64_t chosen = -1;
  for (std::int64_t i = 0; i < count; ++i) {
    if (weights[i] == 0)
      continue;
    chosen = i;
    if (left < weights[i])
      break;
    left -= weights[i];
  }
  return static_cast<std::int32_t>(from + chosen);
}

MILLRACE_INLINE float weight_of_one(const distribution& d, float logit) {
  return weight_of(broadcast<vector<4>>(logit), d.peak, d.inverse)[0];
}

/// The likeliest words first, as many as top-k and top-p leave.
MILLRACE_INLINE void keep_likeliest(const distribution& d, const sampling_rule& rule, std::vector<candidate>& kept) {
  double total = d.total;
  if (rule.top_k > 0 && static_cast<std::size_t>(rule.top_k) < kept.size()) {
    std::nth_element(kept.begin(), kept.begin() + rule.top_k, kept.end(), likelier);
    kept.resize(static_cast<std::size_t>(rule.top_k));
    std::sort(kept.begin(), kept.end(), likelier);
    total = 0;
    for (const auto& c : kept)
      total += weight_of_one(d, c.logit);
  }
  if (rule.top_p >= 1)
    return;
  const double want = rule.top_p * total;
  double sum = 0;
  // The nucleus is mostly small: sort as much of the head as it turns out to need.
  std::size_t sorted = 0;
  for (std::size_t upto = std::min<std::size_t>(kept.size(), 256);; upto = std::min(kept.size(), upto * 8)) {
    std::partial_sort(kept.begin() + static_cast<std::ptrdiff_t>(sorted),
                      kept.begin() + static_cast<std::ptrdiff_t>(upto), kept.end(), likelier);
    for (; sorted < upto; ++sorted) {
      sum += weight_of_one(d, kept[sorted].logit);
      if (sum >= want) {
        kept.resize(sorted + 1);
        return;
      }
    }
    if (upto == kept.size())
      return;
  }
}

MILLRACE_INLINE std::int32_t draw_from_some(const distribution& d, const sampling_rule& rule, double uniform) {
  thread_local std::vector<candidate> kept;
  kept.clear();
  constexpr float none = -std::numeric_limits<float>::infinity();
  for (std::int64_t v = 0; v < d.vocab; ++v)
    if (d.logits[v] > none)
      kept.push_back({d.logits[v], static_cast<std::int32_t>(v)});
  keep_likeliest(d, rule, kept);
  if (rule.min_p > 0)
    std::erase_if(
        kept, [&](const candidate& c)
                  __attribute__((always_inline)) { return weight_of_one(d, c.logit) < rule.min_p; });
  double total = 0;
  for (const auto& c : kept)
    total += weight_of_one(d, c.logit);
  double left = uniform * total;
  for (const auto& c : kept) {
    const float weight = weight_of_one(d, c.logit);
    if (left < weight)
      return c.token;
    left -= weight;
  }
  return kept.back().token;
}

template <int width>
MILLRACE_INLINE void sample_row(const sample_token_args& a, std::int64_t r) {
  const auto& rule = a.rules[r];
  distribution d{a.logits[r], a.vocab, 0, rule.temperature > 0 ? 1.0f / rule.temperature : 1.0f, 0};
  d.peak = row_peak<width>(d.logits, d.vocab);
  d.total = row_weight<width>(d.logits, d.vocab, d.peak, d.inverse);
  if (rule.temperature == 0)
    a.token[r] = static_cast<std::int32_t>(std::find(d.logits, d.logits + d.vocab, d.peak) - d.logits);
  else if (rule.top_k == 0 && rule.top_p >= 1 && rule.min_p == 0)
    a.token[r] = draw_from_all<width>(d, a.uniform[r]);
  else
    a.token[r] = draw_from_some(d, rule, a.uniform[r]);
  a.logprob[r] = logprob_of(d.logits[a.token[r]], d.peak, d.inverse, d.total);
}

} // namespace

void sample_token(const sample_token_args& a, thread_team& team) {
  check(a);
  team.run(a.rows, 1, [&](std::int64_t first, std::int64_t last) {
    with_instruction_set(
        team.instructions(), [&](auto width) __attribute__((always_inline)) {
          for (std::int64_t r = first; r < last; ++r)
            sample_row<decltype(width)::value>(a, r);
        });
  });
}

void sample_token_reference(const sample_token_args& a) {
  check(a);
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const float* row = a.logits[r];
    const auto& rule = a.rules[r];
    std::vector<std::int32_t> order(static_cast<std::size_t>(a.vocab));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto x, auto y) { return row[x] > row[y]; });
    const double t = rule.temperature > 0 ? rule.temperature : 1;
    const double peak = row[order[0]];
    const auto weight = [&](std::int32_t v) { return std::exp((row[v] - peak) / t); };
    double all = 0;
    for (const auto v : order)
      all += weight(v);
    std::size_t keep = order.size();
    if (rule.temperature == 0)
      keep = 1;
    if (rule.top_k > 0)
      keep = std::min(keep, static_cast<std::size_t>(rule.top_k));
    const auto mass = [&](std::size_t count) {
      double sum = 0;
      for (std::size_t i = 0; i < count; ++i)
        sum += weight(order[i]);
      return sum;
    };
    if (rule.top_p < 1) {
      const double want = rule.top_p * mass(keep);
      std::size_t need = 0;
      for (double sum = 0; need < keep && sum < want; ++need)
        sum += weight(order[need]);
      keep = need;
    }
    while (keep > 1 && weight(order[keep - 1]) < rule.min_p)
      --keep;
    order.resize(keep);
    // Without a filter the words are walked in their own order.
    if (rule.temperature > 0 && rule.top_k == 0 && rule.top_p >= 1)
      std::sort(order.begin(), order.end());
    double left = a.uniform[r] * mass(keep);
    a.token[r] = order.back();
    for (const auto v : order) {
      if (left < weight(v)) {
        a.token[r] = v;
        break;
      }
      left -= weight(v);
    }
    a.logprob[r] = static_cast<float>((row[a.token[r]] - peak) / t - std::log(all));
  }
}

} // namespace millrace::kernels
