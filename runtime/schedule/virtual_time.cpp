#include "runtime/schedule/virtual_time.hpp"

#include "runtime/input_error.hpp"
#include "runtime/schedule/virtual_worker.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>
#include <stdexcept>

namespace millrace::schedule {

namespace {

/// splitmix64 (Steele, Lea, Flood 2014): a good word out of any counter.
std::uint64_t mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

/// In (0, 1), by the counter alone.
double uniform(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  const auto word = mix(mix(mix(a) ^ b) ^ c);
  return (static_cast<double>(word >> 11) + 0.5) * 0x1p-53;
}

void check(const workload& costs) {
  const auto want = [](bool holds, const char* sentence) {
    if (!holds)
      throw input_error(std::string("workload: ") + sentence);
  };
  want(costs.workers >= 1 && costs.groups_per_worker >= 1 && costs.answers_per_group >= 1,
       "workers, groups_per_worker, answers_per_group: want at least 1 of each");
  want(costs.mean_tokens > 0 && costs.max_tokens >= 1 && costs.tokens_per_s > 0,
       "mean_tokens, max_tokens, tokens_per_s: want more than 0");
  want(costs.contention >= 1 && costs.train_contention >= 1, "contention, train_contention: want at least 1");
  for (const auto value : {costs.length_cv, costs.columns_s, costs.train_s, costs.train_token_s, costs.stage_s, costs.publish_s,
                           costs.prefill_s, costs.resume_token_s, costs.checkpoint_s, costs.worker_life_s, costs.restart_s,
                           costs.contention, costs.train_contention, costs.mean_tokens, costs.max_tokens, costs.tokens_per_s})
    want(std::isfinite(value) && value >= 0, "costs: want finite numbers of at least 0");
  for (std::size_t i = 0; i < costs.decode.size(); ++i)
    want(costs.decode[i].step_s > 0 && (i == 0 || costs.decode[i].occupied > costs.decode[i - 1].occupied),
         "decode: want ascending numbers of slots, each with seconds above 0");
  for (const auto& row : costs.lengths)
    want(!row.empty() && *std::min_element(row.begin(), row.end()) >= 0, "lengths: want groups of at least one answer, each of at least 0 tokens");
}

/// One run under virtual time.
class virtual_run {
public:
  virtual_run(const config& schedule, const workload& costs, const observer& observe)
      : scheduler_(schedule), costs_(costs), observe_(observe), hosts_(costs.workers, virtual_worker(costs)) {
    log_sigma_ = std::sqrt(std::log1p(costs.length_cv * costs.length_cv));
    log_mean_ = std::log(costs.mean_tokens) - log_sigma_ * log_sigma_ / 2;
  }

  prediction run() {
    if (costs_.prompts > 0)
      feed(prompts_exhausted{costs_.prompts});
    for (worker_id id = 0; id < costs_.workers; ++id)
      join(id, version_id{0});
    while (!scheduler_.finished()) {
      if (agenda_.empty())
        throw std::logic_error("virtual time: nothing is left to happen and the run is not finished");
      const auto next = agenda_.top();
      agenda_.pop();
      if (next.what == kind::generated && hosts_[next.subject].planned != next.sequence)
        continue;
      account(next.at_s);
      now_s_ = next.at_s;
      happen(next);
    }
    result_.steps = scheduler_.at().step;
    result_.seconds = now_s_;
    result_.stale = scheduler_.stale();
    result_.books = scheduler_.books().sums();
    share_out();
    return result_;
  }

private:
  enum class kind : std::uint8_t { generated, handed_over, columns, staged, flipped, trained, saved, died, joins };

  struct entry {
    double at_s;
    std::uint64_t sequence; ///< breaks ties in the order of planning
    kind what;
    std::uint64_t subject; ///< group, worker (for `flipped` and `staged` with its life above bit 32) or step
    std::uint32_t detail;  ///< attempt, version, life or part

    bool operator<(const entry& other) const {
      return at_s != other.at_s ? at_s > other.at_s : sequence > other.sequence;
    }
  };

  std::uint64_t plan(double at_s, kind what, std::uint64_t subject, std::uint32_t detail) {
    agenda_.push({at_s, ++sequence_, what, subject, detail});
    return sequence_;
  }

  /// When something about a worker has changed: its next ending.
  void plan_worker(worker_id id) {
    auto& on = hosts_[id];
    const auto next = on.next_s();
    if (next == on.planned_s && on.planned != 0)
      return;
    on.planned_s = next;
    on.planned = next < std::numeric_limits<double>::infinity() ? plan(next, kind::generated, id, 0) : ++sequence_;
  }

  double answer_tokens(group_id group, std::uint32_t answer) const {
    if (!costs_.lengths.empty()) {
      const auto& row = costs_.lengths[group % costs_.lengths.size()];
      return row[answer % row.size()];
    }
    if (log_sigma_ == 0)
      return std::clamp(std::round(costs_.mean_tokens), 1.0, std::floor(costs_.max_tokens));
    const auto radius = std::sqrt(-2 * std::log(uniform(costs_.seed, group, 2 * answer)));
    const auto normal = radius * std::cos(2 * 3.14159265358979323846 * uniform(costs_.seed, group, 2 * answer + 1));
    return std::clamp(std::round(std::exp(log_mean_ + log_sigma_ * normal)), 1.0, std::floor(costs_.max_tokens));
  }

  void join(worker_id id, std::optional<version_id> holds) {
    auto& one = hosts_[id];
    const auto life = one.life + 1;
    one = virtual_worker(costs_);
    one.life = life;
    one.alive = true;
    one.slow_down(now_s_, training_ ? costs_.contention : 1);
    if (holds)
      one.flip(now_s_, *holds);
    if (costs_.worker_life_s > 0)
      plan(now_s_ - costs_.worker_life_s * std::log(uniform(costs_.seed ^ 0x5bd1e995u, id, life)), kind::died, id, life);
    feed(worker_joined{id, costs_.groups_per_worker, holds, "rollout/" + std::to_string(id)});
  }

  void take_weights(worker_id id, version_id version) {
    auto& on = hosts_[id];
    on.take_weights(now_s_, costs_.publish_s, version);
    plan_worker(id);
    plan(now_s_ + costs_.publish_s, kind::flipped, std::uint64_t{on.life} << 32 | id, version);
  }

  void happen(const entry& next) {
    const auto subject = static_cast<worker_id>(next.subject);
    switch (next.what) {
      case kind::generated: return generated(subject);
      case kind::handed_over: return handed_over(next.subject, next.detail);
      case kind::columns: return feed(group_ready{next.subject, next.detail});
      case kind::staged: return staged(subject, next.subject >> 32, next.detail);
      case kind::flipped: return flipped(subject, next.subject >> 32, next.detail);
      case kind::trained: return trained(static_cast<std::uint32_t>(next.subject), next.detail);
      case kind::saved: return feed(checkpointed{static_cast<std::uint32_t>(next.subject)});
      case kind::died: return died(subject, next.detail);
      case kind::joins: return join(subject, std::nullopt);
    }
  }

  void generated(worker_id id) {
    auto& on = hosts_[id];
    on.planned = 0;
    const auto done = on.ended(now_s_, groups_);
    std::vector<group_finished> told;
    for (const auto group : done) {
      const auto& one = groups_.at(group);
      group_finished what{group, one.attempt, {}, 0, {}};
      on.count(one, what.tokens, what.answers);
      for (const auto& part : what.tokens)
        result_.generated_tokens += part.tokens;
      ++result_.generated_groups;
      off(group);
      told.push_back(std::move(what));
    }
    plan_worker(id);
    for (auto& what : told) {
      plan(now_s_ + costs_.columns_s, kind::columns, what.group, what.attempt);
      feed(what);
    }
    drained(id);
  }

  /// The group has left its worker.
  void off(group_id group) {
    const auto& one = groups_.at(group);
    result_.place_busy_s += now_s_ - one.began_s;
    --hosts_[one.host].groups;
    groups_.erase(group);
  }

  void drained(worker_id id) {
    auto& on = hosts_[id];
    if (on.alive && on.groups == 0 && on.wanted)
      take_weights(id, *std::exchange(on.wanted, std::nullopt));
  }

  void handed_over(group_id group, std::uint32_t attempt) {
    auto* one = groups_.find(group);
    if (!one || one->attempt != attempt)
      return;
    const auto id = one->host;
    auto tokens = hosts_[id].stop(group, *one, now_s_, groups_);
    result_.place_busy_s += now_s_ - one->began_s;
    plan_worker(id);
    handed_.insert_or_assign(group, std::move(*one));
    groups_.erase(group);
    feed(group_interrupted{group, attempt, std::move(tokens)});
    drained(id);
  }

  void staged(worker_id id, std::uint64_t life, version_id version) {
    auto& on = hosts_[id];
    if (!on.alive || on.life != life)
      return;
    if (!scheduler_.settings().in_flight() && on.groups > 0)
      on.wanted = version;
    else
      take_weights(id, version);
  }

  void flipped(worker_id id, std::uint64_t life, version_id version) {
    if (hosts_[id].alive && hosts_[id].life == life)
      feed(version_acknowledged{id, version});
  }

  void work(bool begins) {
    training_ = begins;
    if (costs_.contention == 1)
      return;
    for (worker_id id = 0; id < costs_.workers; ++id) {
      hosts_[id].slow_down(now_s_, begins ? costs_.contention : 1);
      plan_worker(id);
    }
  }

  void trained(std::uint32_t step, std::uint32_t part) {
    work(false);
    feed(batch_trained{step, batch_tokens_, masked_tokens_, part});
  }

  void died(worker_id id, std::uint32_t life) {
    auto& one = hosts_[id];
    if (!one.alive || one.life != life)
      return;
    one.alive = false;
    one.wanted.reset();
    one.planned = 0;
    ++result_.workers_lost;
    std::vector<group_id> here;
    groups_.each([&](group_id group, const virtual_group& on) {
      if (on.host == id)
        here.push_back(group);
    });
    for (const auto group : here)
      off(group);
    plan(now_s_ + costs_.restart_s, kind::joins, id, 0);
    feed(worker_lost{id});
  }

  void feed(const event& what) {
    const auto actions = scheduler_.on(what, now_s_);
    if (observe_)
      observe_(what, actions, scheduler_, now_s_);
    for (const auto& one : actions)
      std::visit([this](const auto& action) { carry_out(action); }, one);
    for (const auto id : std::exchange(touched_, {}))
      plan_worker(id);
  }

  void carry_out(const admit& what) {
    auto& one = groups_.insert(what.group);
    one.attempt = what.attempt;
    one.host = what.worker;
    double handed = 0;
    const auto before = handed_.find(what.group);
    if (what.resume && before != handed_.end()) {
      one.answers = std::move(before->second.answers);
      one.carried = std::move(before->second.carried);
      for (const auto& each : one.answers)
        handed += each.done;
    } else {
      one.answers.resize(costs_.answers_per_group);
      for (std::uint32_t i = 0; i < costs_.answers_per_group; ++i)
        one.answers[i].length = answer_tokens(what.group, i);
    }
    if (before != handed_.end())
      handed_.erase(before);
    auto& on = hosts_[what.worker];
    on.start(what.group, one, now_s_);
    on.compute_prompt(now_s_, costs_.prefill_s + costs_.resume_token_s * handed);
    touched_.push_back(what.worker);
  }
  void carry_out(const cancel& what) {
    auto* one = groups_.find(what.group);
    if (!one)
      return;
    const auto id = one->host;
    hosts_[id].stop(what.group, *one, now_s_, groups_);
    ++hosts_[id].groups;
    off(what.group);
    touched_.push_back(id);
    drained(id);
  }
  void carry_out(const interrupt& what) { plan(now_s_, kind::handed_over, what.group, what.attempt); }
  void carry_out(const cut& what) {
    batch_tokens_ = scheduler_.tokens_in_training();
    masked_tokens_ = scheduler_.masked_in_training();
    const bool beside = scheduler_.at().generating > 0;
    const auto& set = scheduler_.settings();
    const auto share = static_cast<double>(set.part_begin(what.part + 1) - set.part_begin(what.part)) / set.groups_per_step;
    const auto seconds = (costs_.train_s * share + costs_.train_token_s * static_cast<double>(batch_tokens_)) * (beside ? costs_.train_contention : 1);
    result_.learner_busy_s += seconds;
    work(true);
    plan(now_s_ + seconds, kind::trained, what.step, what.part);
  }
  void carry_out(const publish& what) {
    for (const auto id : what.workers) {
      if (costs_.stage_s > 0)
        plan(now_s_ + costs_.stage_s, kind::staged, std::uint64_t{hosts_[id].life} << 32 | id, what.version);
      else
        staged(id, hosts_[id].life, what.version);
    }
  }
  void carry_out(const drop& what) { handed_.erase(what.group); }
  void carry_out(const checkpoint& what) { plan(now_s_ + costs_.checkpoint_s, kind::saved, what.step, 0); }
  void carry_out(const finish& what) { result_.reason = what.reason; }

  /// Adds the time up to `until_s`, in which nothing changed, to who did what in it.
  void account(double until_s) {
    const auto passed = until_s - now_s_;
    if (passed <= 0)
      return;
    auto& learner = result_.learner;
    if (training_)
      learner.compute += passed;
    else if (scheduler_.saving())
      learner.saving += passed;
    else if (const auto waits = scheduler_.learner_waits_for(); waits == wait_kind::bound)
      learner.wait_bound += passed;
    else
      (waits == wait_kind::turn ? learner.wait_turn : learner.wait_input) += passed;
    auto& rollout = result_.rollout;
    for (worker_id id = 0; id < costs_.workers; ++id) {
      const auto& one = hosts_[id];
      if (!one.alive) {
        rollout.dead += passed;
      } else if (one.takes_weights(now_s_)) {
        rollout.paused += passed;
      } else {
        const auto busy = static_cast<double>(one.groups) / costs_.groups_per_worker;
        rollout.compute += busy * passed;
        (scheduler_.takes_groups(id) ? rollout.wait_credit : rollout.wait_weights) += (1 - busy) * passed;
      }
    }
  }

  void share_out() {
    if (result_.seconds <= 0)
      return;
    auto& learner = result_.learner;
    for (auto* share : {&learner.compute, &learner.wait_input, &learner.wait_bound, &learner.wait_turn, &learner.saving})
      *share /= result_.seconds;
    auto& rollout = result_.rollout;
    for (auto* share : {&rollout.compute, &rollout.wait_credit, &rollout.wait_weights, &rollout.paused, &rollout.dead})
      *share /= result_.seconds * costs_.workers;
  }

  scheduler scheduler_;
  const workload& costs_;
  const observer& observe_;
  double log_mean_ = 0;
  double log_sigma_ = 0;
  double now_s_ = 0;
  std::uint64_t sequence_ = 0;
  std::priority_queue<entry> agenda_;
  std::vector<virtual_worker> hosts_;
  by_id<virtual_group> groups_; ///< on workers
  std::map<group_id, virtual_group> handed_;
  std::vector<worker_id> touched_;
  std::int64_t batch_tokens_ = 0;
  std::int64_t masked_tokens_ = 0;
  bool training_ = false;
  prediction result_;
};

} // namespace

double prediction::length_ratio() const {
  if (books.trained.groups == 0 || generated_tokens == 0)
    return 1;
  const auto trained = static_cast<double>(books.trained.tokens) / static_cast<double>(books.trained.groups);
  return trained * static_cast<double>(generated_groups) / static_cast<double>(generated_tokens);
}

prediction simulate(const config& schedule, const workload& costs, const observer& observe) {
  check(costs);
  auto result = virtual_run(schedule, costs, observe).run();
  for (const auto& [versions, bucket] : result.stale.at_use)
    if (versions > schedule.stale_max)
      result.late_groups += bucket.groups;
  return result;
}

} // namespace millrace::schedule
