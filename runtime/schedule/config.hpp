#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::schedule {

/// Which ready groups make the next batch.
enum class select_order : std::uint8_t {
  in_order,      ///< the lowest group ids that are live; the batch waits for each of them, so its content never depends on timing
  oldest,        ///< the oldest version, then the lowest id; others may still be generating
  ready,         ///< who became ready first
  freshest,      ///< the newest version, then the lowest id
  length_bucket, ///< those whose token count is nearest (in powers of two) to that of the lowest ready id
};

/// What `stale_max` is counted in.
enum class lag_unit : std::uint8_t {
  step,   ///< versions: s - version
  update, ///< optimizer updates since the version, those of the step under way too
  group,  ///< groups trained since the version, those of the step under way too
};

/// What a group's age is counted from.
enum class stale_measure : std::uint8_t {
  head, ///< its oldest token
  tail, ///< its newest token: only the time in the queue is bounded
  born, ///< the version of the worker that it was started on
};

/// What the staleness bound does.
enum class stale_action : std::uint8_t {
  wait,        ///< a cut waits whenever it would leave a group behind that could no longer be trained in time (earliest deadline first)
  drop,        ///< a group that is too old is dropped and the next prompt takes its place
  requeue,     ///< a group that is too old is generated again
  withhold,    ///< answers with a token that is too old keep their reward and train nothing
  mask_tokens, ///< tokens that are too old train nothing
  train,       ///< no bound: late groups are trained and show in the histogram
};

/// Where `drop` and `requeue` look for groups that are too old.
enum class stale_check : std::uint8_t {
  cut,     ///< among the ready ones, before a batch is cut
  publish, ///< also among those that generate, before new weights are published
};

/// What a publication does to the groups that a worker generates.
enum class interrupt_mode : std::uint8_t {
  drain,         ///< the worker takes no new groups and flips when the last one has ended
  pause,         ///< the weights flip between two tokens
  abort_resume,  ///< groups are handed back with what they have and go on under the new weights, on any worker
  abort_discard, ///< groups are cancelled and generated again
};

/// What a flip between two tokens (`pause`) does to the cached keys and values of running answers.
enum class kv_mode : std::uint8_t {
  keep,      ///< they stay: later tokens see those of older versions
  recompute, ///< prompt and answer are computed anew under the new weights before the next token
};

enum class publish_pattern : std::uint8_t {
  push,    ///< every worker is sent new weights as soon as there are some
  rolling, ///< `rolling_width` workers at a time
  pull,    ///< a worker takes groups until one ends, then none until all have ended, then the newest weights
};

enum class tail_stop : std::uint8_t {
  all,     ///< groups that are not in the batch go on
  first_k, ///< the round ends with its batch
};

/// What happens to the groups of a round that are not in its batch (`first_k`).
enum class tail_surplus : std::uint8_t {
  keep,            ///< they go on
  discard,         ///< dropped
  recycle_partial, ///< handed back with what they have; first to go on in the next round
  long_round,      ///< kept for a round of their own, generated again, once there are enough for a batch
};

enum class place_mode : std::uint8_t {
  disjoint,  ///< training and generation have hardware of their own
  timeshare, ///< never at the same time: nothing is generated while a batch is trained
  lend,      ///< the learner's hardware generates too; while a batch is trained it starts no group once `reclaim_at` of the next one is ready
};

/// What becomes of a batch that lost a group for good.
enum class lost_group : std::uint8_t {
  replace, ///< the next prompt takes its place
  shrink,  ///< the batch is smaller
  fail,    ///< the run ends
};

/// `stale_max` without a bound.
inline constexpr std::uint32_t no_bound = std::numeric_limits<std::uint32_t>::max();

/// Everything that decides. `v` is the newest version that the rollout workers run (`ack`), `s` the number of steps trained.
struct config {
  std::uint32_t groups_per_step = 4; ///< B, >= 1
  std::uint32_t steps = 1;           ///< of the whole run, >= 1

  lag_unit unit = lag_unit::step;  ///< of stale_max
  std::uint32_t minibatches = 1;   ///< optimizer updates in a step, 1 to B: update p is given the groups from part_begin(p) to part_begin(p + 1)
  std::uint32_t publish_every = 1; ///< steps between publications, >= 1

  double depth = 0;               ///< lead of production in steps, >= 0: a group starts while live + consumed < (v + 1 + depth) B
  double warmup = 0;              ///< more lead under the first version: the same with first version + 1 + depth + warmup
  std::uint32_t max_inflight = 0; ///< groups generating at once; 0: as many as there are places
  double burst = std::numeric_limits<double>::infinity(); ///< steps' worth of groups that generation grows by at most under one version, > 0

  select_order select = select_order::in_order;
  std::uint32_t min_ready = 0; ///< ready groups that begin a step, at most B; never fewer than those of its first update; 0: B

  std::uint32_t tokens_per_step = 0; ///< answer tokens of ready groups that make a step, with fewer than B groups if need be; 0: B groups do
  double on_policy_min = 0;          ///< share of each update whose groups have staleness 0, while such groups are to be had

  std::uint32_t stale_max = 0; ///< bound on the staleness of what is trained, in `unit`
  stale_measure measure = stale_measure::head;
  stale_action action = stale_action::wait;
  stale_check check = stale_check::cut;

  interrupt_mode interrupt = interrupt_mode::drain;
  kv_mode kv = kv_mode::keep; ///< groups that were handed back and go on are computed anew in any case

  publish_pattern pattern = publish_pattern::push;
  std::uint32_t rolling_width = 1; ///< `rolling`: workers that take weights at once, >= 1
  std::uint32_t ack = 0;           ///< workers that must run a version before v counts it; 0: all. Others get no group until they do
  double publish_deadline_s = 0;   ///< seconds within which a worker has to run weights that it was sent, before others go on without it; 0: any time

  double oversample = 1; ///< groups started for each one that is trained, >= 1
  double oversample_attempts = 1; ///< answers started for each one that a group needs, >= 1: it ends with the shortest (`answers_started`)
  tail_stop stop = tail_stop::all;
  tail_surplus surplus = tail_surplus::keep;
  double repack_below = 0; ///< `pull`: a worker with a smaller share of its places taken hands its groups to a fuller one; 0: never

  place_mode place = place_mode::disjoint;
  double reclaim_at = 0; ///< `lend`: share of B; above 0, at most 1
  bool reclaim_adapt = false; ///< `lend`: every step moves that share (`adapted_reclaim`)

  std::uint32_t attempts_per_group = 5; ///< attempts lost to infrastructure before a group is lost, >= 1
  std::uint32_t data_attempts = 1;      ///< attempts that the data failed before a group is lost, >= 1
  lost_group lost = lost_group::replace;
  double min_batch_fraction = 0;        ///< `shrink`: the run ends when a batch would be a smaller share of B
  std::uint32_t flat_groups_per_step = 0; ///< groups whose rewards are all equal that are replaced in a step; 0: none is
  std::uint32_t consecutive_losses = 0; ///< groups lost with none ready in between that end the run; 0: any number

  double call_deadline_s = 0;           ///< seconds that a group may generate, or wait for its columns, before the attempt counts as lost; 0: any time

  std::uint32_t checkpoint_every = 0; ///< steps; 0: only when the run ends or is stopped

  bool operator==(const config&) const = default;

  /// The first group, counted within its step, of update `part`; B for `part` = minibatches.
  std::uint32_t part_begin(std::uint32_t part) const {
    return static_cast<std::uint32_t>(std::uint64_t{part} * groups_per_step / minibatches);
  }
  /// Weights flip under running generation.
  bool in_flight() const { return interrupt == interrupt_mode::pause; }
  bool bounded() const { return stale_max != no_bound && action != stale_action::train; }

  /// Every field with its name, in the order above: `visit("groups_per_step", field)`.
  template <class Self, class Visitor> static void each(Self& s, Visitor&& visit) {
    visit("groups_per_step", s.groups_per_step);
    visit("steps", s.steps);
    visit("unit", s.unit);
    visit("minibatches", s.minibatches);
    visit("publish_every", s.publish_every);
    visit("depth", s.depth);
    visit("warmup", s.warmup);
    visit("max_inflight", s.max_inflight);
    visit("burst", s.burst);
    visit("order", s.select);
    visit("min_ready", s.min_ready);
    visit("tokens_per_step", s.tokens_per_step);
    visit("on_policy_min", s.on_policy_min);
    visit("stale_max", s.stale_max);
    visit("measure", s.measure);
    visit("action", s.action);
    visit("check", s.check);
    visit("interrupt", s.interrupt);
    visit("kv", s.kv);
    visit("pattern", s.pattern);
    visit("rolling_width", s.rolling_width);
    visit("ack", s.ack);
    visit("publish_deadline_s", s.publish_deadline_s);
    visit("oversample", s.oversample);
    visit("oversample_attempts", s.oversample_attempts);
    visit("stop", s.stop);
    visit("surplus", s.surplus);
    visit("repack_below", s.repack_below);
    visit("place", s.place);
    visit("reclaim_at", s.reclaim_at);
    visit("reclaim_adapt", s.reclaim_adapt);
    visit("attempts", s.attempts_per_group);
    visit("data_attempts", s.data_attempts);
    visit("lost_group", s.lost);
    visit("min_batch_fraction", s.min_batch_fraction);
    visit("flat_groups_per_step", s.flat_groups_per_step);
    visit("consecutive_losses", s.consecutive_losses);
    visit("call_deadline_s", s.call_deadline_s);
    visit("checkpoint_every", s.checkpoint_every);
  }
};

/// Something that is wrong with a schedule, and the field (by its name in `config::each`) to change.
struct problem {
  std::string field;
  std::string text; ///< "found ..., want ...: why"
};

/// Every value out of range and every combination that could not run or would have no effect; empty when it can be run.
std::vector<problem> problems(const config& wanted);

/// The words of an enum, in the order of its values.
template <class Enum> std::vector<std::string> words_of();

template <> std::vector<std::string> words_of<select_order>();
template <> std::vector<std::string> words_of<lag_unit>();
template <> std::vector<std::string> words_of<stale_measure>();
template <> std::vector<std::string> words_of<stale_action>();
template <> std::vector<std::string> words_of<stale_check>();
template <> std::vector<std::string> words_of<interrupt_mode>();
template <> std::vector<std::string> words_of<kv_mode>();
template <> std::vector<std::string> words_of<publish_pattern>();
template <> std::vector<std::string> words_of<tail_stop>();
template <> std::vector<std::string> words_of<tail_surplus>();
template <> std::vector<std::string> words_of<place_mode>();
template <> std::vector<std::string> words_of<lost_group>();

/// The word of a value.
template <class Enum> std::string word(Enum value) {
  return words_of<Enum>().at(static_cast<std::size_t>(value));
}

/// A field as text: a number (`inf` for no bound), true or false, or a word.
std::string field_text(const std::string& name, bool value);
std::string field_text(const std::string& name, std::uint32_t value);
std::string field_text(const std::string& name, double value);
template <class Enum> std::string field_text(const std::string&, Enum value) {
  return word(value);
}

} // namespace millrace::schedule
