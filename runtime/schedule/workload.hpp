#pragma once

#include "runtime/schedule/event.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace millrace::schedule {

/// Seconds that one decode step, a token for each occupied slot, takes with so many of them occupied.
struct decode_cost {
  double occupied = 1;
  double step_s = 0.01;
};

inline constexpr std::uint32_t most_answers = 1u << 20; ///< of a group under virtual time

/// What everything costs. A worker decodes the answers of its groups side by side in its slots; answers without a slot
/// wait, first come first served. A group is finished with its longest answer, or with those that `answers_started`
/// says.
struct workload {
  std::uint32_t workers = 1;     ///< >= 1
  std::uint32_t own_workers = 0; ///< of those, the last so many do not run on the learner's hardware (`place` lend)
  std::uint32_t groups_per_worker = 4; ///< groups that a worker takes at once, >= 1
  std::uint32_t slots = 0;             ///< answers that a worker decodes at once; 0: those of all its groups
  std::uint32_t answers_per_group = 8; ///< that a group needs, from 1 to `most_answers`

  double mean_tokens = 64; ///< of an answer before the cut at max_tokens, log-normal, > 0
  double length_cv = 0;    ///< standard deviation / mean of the same, >= 0
  double max_tokens = 64;  ///< from 1 to 1e9
  /// Lengths as measured, answers of one group each: group g is as row g modulo their number. Empty: log-normal as
  /// above.
  std::vector<std::vector<std::int32_t>> lengths;

  /// Of an episode, before the cut at max_turns, log-normal; 0: answers are no episodes. Lengths are those of what the
  /// policy samples in all turns, which are equally long.
  double turns = 0;
  double turns_cv = 0;        ///< standard deviation / mean of the same, >= 0
  double max_turns = 0;       ///< 0: no cut
  double begin_s = 0;         ///< from a group's admission until its episodes have begun
  double reply_s = 0;         ///< from a turn's end to what the environment says to it, log-normal
  double reply_cv = 0;        ///< standard deviation / mean of the same, >= 0
  double observed_tokens = 0; ///< that it says to one turn; with what is sampled at most max_tokens
  /// Turns as measured, laid out as `lengths`. Empty: log-normal as above.
  std::vector<std::vector<std::int32_t>> turns_played;
  std::vector<double> replies_s; ///< as measured, each as likely as the others. Empty: log-normal as above

  double tokens_per_s = 100;       ///< of one answer, whatever else runs; > 0
  std::vector<decode_cost> decode; ///< not empty: instead of it; ascending in `occupied`, in between linear
  double prefill_s = 0;            ///< a worker decodes nothing for so long when a group begins
  /// The same, for each token of a group that goes on, or that an environment said, or that is computed anew at a flip
  /// (`kv`).
  double resume_token_s = 0;
  double columns_s = 0;      ///< from the last token to ready: verifiers, tools, fetching; log-normal
  double columns_cv = 0;     ///< standard deviation / mean of the same, >= 0
  double train_s = 1;        ///< a step; each of its updates takes its share of it
  double train_token_s = 0;  ///< more for each token
  double train_square_s = 0; ///< more for each squared length of an answer: attention
  std::uint32_t ranks = 1;   ///< of the learner: they compute micro-batches side by side, each one a round; >= 1
  /// A micro-batch takes so many times as long beside those of all other ranks, >= 1. Beside fewer it takes less, in
  /// proportion, and never less than alone.
  double rank_contention = 1;
  double exchange_s = 0;          ///< more for each round, in which gradients travel
  double micro_batch_tokens = 0;  ///< that one is fed at most; 0: an update is one micro-batch
  double prompt_tokens = 0;       ///< fed for each group, and again where it is cut
  std::uint32_t whole_groups = 0; ///< 1: a group is never cut between micro-batches
  std::uint32_t updates = 1;      ///< that a cut of groups is trained in, one after another; >= 1
  double flat_share = 0;          ///< of the tokens: groups that no micro-batch has, below 1
  double first_train_s = 0;       ///< more for the first update of the run: memory and caches are cold
  double copy_s = 0;              ///< the learner stands still this long when it makes a version available
  double layout_s = 0;            ///< from then until a worker can take the weights; it goes on decoding
  double publish_s = 0;           ///< a worker stands still this long when it takes new weights
  double contention = 1; ///< decode steps take so many times as long while the learner computes, >= 1; under `lend`
                         ///< those of lent workers
  /// The learner takes so many times as long while groups are generated, >= 1; under `lend` by lent workers.
  double train_contention = 1;
  double layout_beside = 1;     ///< laying out takes so many times as long while the learner computes, >= 1
  double layout_contention = 1; ///< and all three so many times as long while weights are laid out beside both, >= 1
  double checkpoint_s = 0;      ///< the learner stands still this long when it writes one
  double worker_life_s = 0;     ///< mean of an exponential; 0: workers do not die
  double restart_s = 1;         ///< from death to joining again
  std::uint64_t prompts = 0;    ///< how many there are; 0: no end
  std::uint64_t seed = 1;       ///< of lengths, latencies and deaths; they depend on seed, group and answer only

  /// Every number with its name, in the order above but for lists: `visit("workers", field)`.
  template <class Self, class Visitor>
  static void each(Self& s, Visitor&& visit) {
    visit("workers", s.workers);
    visit("own_workers", s.own_workers);
    visit("groups_per_worker", s.groups_per_worker);
    visit("slots", s.slots);
    visit("answers_per_group", s.answers_per_group);
    visit("mean_tokens", s.mean_tokens);
    visit("length_cv", s.length_cv);
    visit("max_tokens", s.max_tokens);
    visit("turns", s.turns);
    visit("turns_cv", s.turns_cv);
    visit("max_turns", s.max_turns);
    visit("begin_s", s.begin_s);
    visit("reply_s", s.reply_s);
    visit("reply_cv", s.reply_cv);
    visit("observed_tokens", s.observed_tokens);
    visit("tokens_per_s", s.tokens_per_s);
    visit("prefill_s", s.prefill_s);
    visit("resume_token_s", s.resume_token_s);
    visit("columns_s", s.columns_s);
    visit("columns_cv", s.columns_cv);
    visit("train_s", s.train_s);
    visit("train_token_s", s.train_token_s);
    visit("train_square_s", s.train_square_s);
    visit("ranks", s.ranks);
    visit("rank_contention", s.rank_contention);
    visit("exchange_s", s.exchange_s);
    visit("micro_batch_tokens", s.micro_batch_tokens);
    visit("prompt_tokens", s.prompt_tokens);
    visit("whole_groups", s.whole_groups);
    visit("updates", s.updates);
    visit("flat_share", s.flat_share);
    visit("first_train_s", s.first_train_s);
    visit("copy_s", s.copy_s);
    visit("layout_s", s.layout_s);
    visit("publish_s", s.publish_s);
    visit("contention", s.contention);
    visit("train_contention", s.train_contention);
    visit("layout_beside", s.layout_beside);
    visit("layout_contention", s.layout_contention);
    visit("checkpoint_s", s.checkpoint_s);
    visit("worker_life_s", s.worker_life_s);
    visit("restart_s", s.restart_s);
    visit("prompts", s.prompts);
    visit("seed", s.seed);
  }
};

/// @throws input_error for costs out of range
void check(const workload& costs);

/// Seconds of a decode step with so many slots occupied.
double decode_step_s(const workload& costs, double occupied);

/// Turns of an answer, >= 1: a function of the costs, the group and the answer alone.
std::int32_t answer_turns(const workload& costs, group_id group, std::uint32_t answer);

/// Tokens that are sampled of an answer in the end: likewise.
double answer_tokens(const workload& costs, group_id group, std::uint32_t answer);

/// Seconds from the end of a turn to what the environment says to it: likewise.
double reply_s(const workload& costs, group_id group, std::uint32_t answer, std::int32_t turn);

/// Seconds of training some groups, but for `train_s`. Several ranks take their micro-batches in rounds, cut and in the
/// order of `micro_batch_cut.hpp`: a round ends with its longest.
/// @param answers tokens of the answers of each group, in the order of the step; may be empty for one rank without
///        `train_square_s`
/// @param tokens  of all of them
double training_s(const workload& costs, std::span<const std::vector<std::int32_t>> answers, double tokens);

/// Seconds from a group's last token to ready.
double columns_s(const workload& costs, group_id group);

/// When the `life`-th worker of a place dies, in seconds from its start; only with `worker_life_s` > 0.
double life_s(const workload& costs, worker_id worker, std::uint32_t life);

} // namespace millrace::schedule
