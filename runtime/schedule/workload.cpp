#include "runtime/schedule/workload.hpp"

#include "runtime/words/input_error.hpp"
#include "runtime/words/mix_bits.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>

namespace millrace::schedule {

namespace {

/// In (0, 1), by the counter alone.
double uniform(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  const auto word = splitmix64(splitmix64(splitmix64(a) ^ b) ^ c);
  return (static_cast<double>(word >> 11) + 0.5) * 0x1p-53;
}

/// Log-normal of this mean and standard deviation / mean, out of two uniform numbers (Box and Muller).
double log_normal(double mean, double cv, double u, double v) {
  const auto variance = std::log1p(cv * cv);
  const auto normal = std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.14159265358979323846 * v);
  return mean * std::exp(std::sqrt(variance) * normal - variance / 2);
}

constexpr std::uint64_t deaths = 0x5bd1e995u, latencies = 0xc2b2ae35u; ///< streams of their own beside that of lengths

} // namespace

void check(const workload& costs) {
  const auto want = [](bool holds, const char* sentence) {
    if (!holds)
      throw input_error(std::string("workload: ") + sentence);
  };
  want(costs.workers >= 1 && costs.groups_per_worker >= 1 && costs.answers_per_group >= 1,
       "workers, groups_per_worker, answers_per_group: want at least 1 of each");
  want(costs.answers_per_group <= most_answers, "answers_per_group: want at most 1048576");
  want(costs.mean_tokens > 0 && costs.max_tokens >= 1 && costs.max_tokens <= 1e9 && costs.tokens_per_s > 0,
       "mean_tokens, max_tokens, tokens_per_s: want more than 0, max_tokens at most 1e9");
  want(costs.ranks >= 1 && costs.rank_contention >= 1, "ranks, rank_contention: want at least 1 of each");
  want(costs.contention >= 1 && costs.train_contention >= 1 && costs.layout_beside >= 1 && costs.layout_contention >= 1,
       "contention, train_contention, layout_beside, layout_contention: want at least 1");
  workload::each(costs, [&](const std::string& name, const auto& value) {
    if constexpr (std::is_floating_point_v<std::decay_t<decltype(value)>>)
      if (!std::isfinite(value) || value < 0)
        throw input_error("workload: " + name + ": want a finite number of at least 0");
  });
  for (std::size_t i = 0; i < costs.decode.size(); ++i)
    want(costs.decode[i].step_s > 0 && (i == 0 || costs.decode[i].occupied > costs.decode[i - 1].occupied),
         "decode: want ascending numbers of slots, each with seconds above 0");
  for (const auto& row : costs.lengths)
    want(!row.empty() && *std::min_element(row.begin(), row.end()) >= 0,
         "lengths: want groups of at least one answer, each of at least 0 tokens");
}

double answer_tokens(const workload& costs, group_id group, std::uint32_t answer) {
  if (!costs.lengths.empty()) {
    const auto& row = costs.lengths[group % costs.lengths.size()];
    return row[answer % row.size()];
  }
  const auto drawn = costs.length_cv == 0
                         ? costs.mean_tokens
                         : log_normal(costs.mean_tokens, costs.length_cv, uniform(costs.seed, group, 2 * answer),
                                      uniform(costs.seed, group, 2 * answer + 1));
  return std::clamp(std::round(drawn), 1.0, std::floor(costs.max_tokens));
}

double on_ranks_s(const workload& costs, double seconds, double tokens) {
  if (costs.ranks <= 1)
    return seconds;
  const double batches = costs.rank_tokens > 0 ? std::max(1e-9, tokens / costs.rank_tokens) : 1;
  const double full = std::floor(batches), last = batches - full, ranks = costs.ranks;
  const double rounds_of_all = std::floor(full / ranks), left = full - rounds_of_all * ranks;
  const double longest = left > 0 ? 1 : last; // of the round that not all ranks have a whole micro-batch for
  const bool one_alone = left == 0 || (left == 1 && last == 0);
  const double in_turn = rounds_of_all * costs.rank_contention + longest * (one_alone ? 1 : costs.rank_contention);
  return seconds / batches * in_turn + costs.exchange_s * (rounds_of_all + (longest > 0 ? 1 : 0));
}

double columns_s(const workload& costs, group_id group) {
  if (costs.columns_cv == 0 || costs.columns_s == 0)
    return costs.columns_s;
  return log_normal(costs.columns_s, costs.columns_cv, uniform(costs.seed ^ latencies, group, 0),
                    uniform(costs.seed ^ latencies, group, 1));
}

double life_s(const workload& costs, worker_id worker, std::uint32_t life) {
  return -costs.worker_life_s * std::log(uniform(costs.seed ^ deaths, worker, life));
}

} // namespace millrace::schedule
