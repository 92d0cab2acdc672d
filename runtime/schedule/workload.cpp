#include "runtime/schedule/workload.hpp"

#include "runtime/words/input_error.hpp"
#include "runtime/words/micro_batch_cut.hpp"
#include "runtime/words/mix_bits.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

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

std::int32_t of_row(const std::vector<std::vector<std::int32_t>>& measured, group_id group, std::uint32_t answer) {
  const auto& row = measured[group % measured.size()];
  return row[answer % row.size()];
}

double square(std::int32_t length) {
  return static_cast<double>(length) * static_cast<double>(length);
}

/// What a micro-batch's seconds go by.
struct timed_batch {
  std::int64_t fed_tokens = 0;
  double squares = 0; ///< of the lengths of its answers
};

/// The micro-batches of an update, in the order in which ranks take them.
std::vector<timed_batch> batches_of(const workload& costs, std::span<const std::vector<std::int32_t>> answers) {
  std::vector<fed_group> groups;
  for (const auto& group : answers) {
    auto& one = groups.emplace_back(fed_group{.prompt = std::llround(costs.prompt_tokens), .answers = {}});
    for (const auto length : group)
      one.answers.push_back(std::max(length - 1, 0));
  }
  // Without its flat groups a micro-batch has as many others.
  const auto budget = costs.micro_batch_tokens > 0 ? std::llround(costs.micro_batch_tokens / (1 - costs.flat_share))
                                                   : std::numeric_limits<std::int64_t>::max();
  const auto cut = cut_by_tokens(groups, budget, costs.whole_groups != 0);
  std::vector<std::int64_t> fed;
  for (const auto& batch : cut)
    fed.push_back(batch.fed_tokens);
  std::vector<timed_batch> out;
  for (const auto i : longest_first(fed)) {
    auto& made = out.emplace_back(timed_batch{.fed_tokens = fed[i], .squares = 0});
    for (const auto& part : cut[i].parts)
      for (std::size_t a = part.first_answer; a < part.first_answer + part.answers; ++a)
        made.squares += square(answers[part.group][a]);
  }
  return out;
}

/// Ranks begin a round together; whoever has ended leaves the hardware to the others.
double round_s(const workload& costs, std::span<const timed_batch> round, double fed_token_s) {
  std::vector<double> alone;
  for (const auto& batch : round)
    alone.push_back(fed_token_s * static_cast<double>(batch.fed_tokens) + costs.train_square_s * batch.squares);
  std::ranges::sort(alone);
  double whole = 0, done = 0;
  for (std::size_t i = 0; i < alone.size(); ++i) {
    const auto share = static_cast<double>(alone.size() - i) / costs.ranks;
    whole += (alone[i] - done) * std::max(1.0, costs.rank_contention * share);
    done = alone[i];
  }
  return whole;
}

/// Streams of their own beside that of lengths.
constexpr std::uint64_t deaths = 0x5bd1e995u, latencies = 0xc2b2ae35u, turn_counts = 0x85ebca6bu, replies = 0x27d4eb2fu;

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
  want(costs.turns == 0 || costs.turns >= 1, "turns: want at least 1, or 0 for answers that are no episodes");
  want(costs.turns <= 1e6 && costs.max_turns <= 1e6 && costs.observed_tokens <= 1e9,
       "turns, max_turns: want at most 1e6; observed_tokens: want at most 1e9");
  want(costs.begin_s >= 0 && (costs.turns > 0 || costs.begin_s == 0), "begin_s: want 0, or more with turns");
  want(costs.turns > 0 || (costs.reply_s == 0 && costs.observed_tokens == 0 && costs.turns_played.empty()),
       "reply_s, observed_tokens: want turns of at least 1 with them");
  want(costs.ranks >= 1 && costs.rank_contention >= 1 && costs.updates >= 1,
       "ranks, rank_contention, updates: want at least 1 of each");
  want(costs.flat_share < 1 && costs.micro_batch_tokens <= 1e9 && costs.prompt_tokens <= 1e9,
       "flat_share: want less than 1; micro_batch_tokens, prompt_tokens: want at most 1e9");
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
  const auto alike = [](const auto& a, const auto& b) { return a.size() == b.size(); };
  want(costs.turns_played.empty() || std::ranges::equal(costs.turns_played, costs.lengths, alike),
       "turns_played: want turns for each answer of lengths");
  want(std::ranges::all_of(costs.replies_s, [](double one) { return one >= 0 && one < 1e9; }),
       "replies_s: want seconds of at least 0 and less than 1e9");
  for (const auto& row : costs.turns_played)
    want(std::ranges::min(row) >= 1, "turns_played: want at least 1 for each answer");
}

double decode_step_s(const workload& costs, double occupied) {
  if (costs.decode.empty())
    return 1 / costs.tokens_per_s;
  const auto& table = costs.decode;
  auto above = std::find_if(table.begin(), table.end(), [&](const auto& one) { return one.occupied >= occupied; });
  if (above == table.begin() || table.size() == 1)
    return table.front().step_s;
  if (above == table.end())
    above = std::prev(table.end());
  const auto below = std::prev(above);
  const auto slope = (above->step_s - below->step_s) / (above->occupied - below->occupied);
  return std::max(1e-9, below->step_s + slope * (occupied - below->occupied));
}

std::int32_t answer_turns(const workload& costs, group_id group, std::uint32_t answer) {
  if (costs.turns == 0)
    return 1;
  const auto most = costs.max_turns > 0 ? std::max(1.0, std::floor(costs.max_turns)) : 1e6;
  if (!costs.turns_played.empty())
    return std::min(of_row(costs.turns_played, group, answer), static_cast<std::int32_t>(most));
  const auto seed = costs.seed ^ turn_counts;
  const auto drawn = costs.turns_cv == 0 ? costs.turns
                                         : log_normal(costs.turns, costs.turns_cv, uniform(seed, group, 2 * answer),
                                                      uniform(seed, group, 2 * answer + 1));
  return static_cast<std::int32_t>(std::clamp(std::round(drawn), 1.0, most));
}

double answer_tokens(const workload& costs, group_id group, std::uint32_t answer) {
  if (!costs.lengths.empty()) {
    const auto whole = of_row(costs.lengths, group, answer);
    if (costs.turns_played.empty())
      return whole;
    return std::int64_t{whole} * answer_turns(costs, group, answer) / of_row(costs.turns_played, group, answer);
  }
  const auto drawn = costs.length_cv == 0
                         ? costs.mean_tokens
                         : log_normal(costs.mean_tokens, costs.length_cv, uniform(costs.seed, group, 2 * answer),
                                      uniform(costs.seed, group, 2 * answer + 1));
  const double turns = answer_turns(costs, group, answer);
  const auto most = std::floor(costs.max_tokens - (turns - 1) * costs.observed_tokens);
  return std::clamp(std::round(drawn), turns, std::max(turns, most));
}

double reply_s(const workload& costs, group_id group, std::uint32_t answer, std::int32_t turn) {
  const bool spreads = costs.reply_cv > 0 && costs.reply_s > 0;
  if (costs.replies_s.empty() && !spreads)
    return costs.reply_s;
  const auto which = std::uint64_t{answer} << 32 | static_cast<std::uint64_t>(turn) << 1;
  const auto drawn = uniform(costs.seed ^ replies, group, which);
  if (!costs.replies_s.empty())
    return costs.replies_s[static_cast<std::size_t>(drawn * static_cast<double>(costs.replies_s.size()))];
  return log_normal(costs.reply_s, costs.reply_cv, drawn, uniform(costs.seed ^ replies, group, which | 1));
}

double training_s(const workload& costs, std::span<const std::vector<std::int32_t>> answers, double tokens) {
  double squares = 0;
  for (const auto& group : answers)
    for (const auto length : group)
      squares += square(length);
  const double alone = costs.train_token_s * tokens + costs.train_square_s * squares;
  if (costs.ranks <= 1)
    return alone;
  std::vector<std::vector<timed_batch>> updates;
  double fed = 0;
  std::size_t first = 0;
  for (const auto end : ends_of_updates(answers.size(), costs.updates)) {
    updates.push_back(batches_of(costs, answers.subspan(first, end - first)));
    for (const auto& batch : updates.back())
      fed += static_cast<double>(batch.fed_tokens);
    first = end;
  }
  double whole = 0;
  for (auto& batches : updates)
    for (std::size_t next = 0; next < batches.size(); next += costs.ranks) {
      const auto round = std::span(batches).subspan(next, std::min<std::size_t>(costs.ranks, batches.size() - next));
      whole += round_s(costs, round, costs.train_token_s * tokens / fed) + costs.exchange_s;
    }
  return whole;
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
